// Kernels are listed as (type, name, parameters, arguments), so that one list declares them, makes their entry points and
// chooses their variants (kernels.c).
#ifndef QWENSFT_CKERNELS_KERNEL_LIST_H
#define QWENSFT_CKERNELS_KERNEL_LIST_H

#define QK_DECLARE(type, name, parameters, arguments) type qk_##name parameters;

#endif
