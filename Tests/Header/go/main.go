// CHECKPOINT: cgo reads the header and calls the library.
package main

// #include <qwensft.h>
// #include <stdlib.h>
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"
)

func check(condition bool, what string) {
	if !condition {
		fmt.Println(what)
		os.Exit(1)
	}
}

func main() {
	// A message belongs to the operating system's thread, which a goroutine may leave between two calls.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	var options C.sft_run_options
	check(C.sft_run_options_init(&options, C.size_t(unsafe.Sizeof(options))) == C.SFT_OK, "sft_run_options_init")
	check(options.batch_size == 8 && options.schedule == C.SFT_SCHEDULE_CONSTANT, "defaults")
	var dtype C.sft_dtype = C.SFT_BFLOAT16
	check(unsafe.Sizeof(dtype) == 4, "sft_dtype")

	var tokenizer *C.sft_tokenizer
	nowhere := C.CString("/nowhere")
	defer C.free(unsafe.Pointer(nowhere))
	check(C.sft_tokenizer_open(nowhere, 8, &tokenizer) == C.SFT_NOT_FOUND, "a tokenizer from nowhere")
	check(strings.Contains(C.GoString(C.sft_last_error()), "/nowhere"), "sft_last_error")

	directory := C.CString(os.Args[1])
	defer C.free(unsafe.Pointer(directory))
	check(C.sft_tokenizer_open(directory, C.size_t(len(os.Args[1])), &tokenizer) == C.SFT_OK, "sft_tokenizer_open")
	text := C.CString("2+2")
	defer C.free(unsafe.Pointer(text))
	var ids [16]C.int32_t
	var count C.size_t
	check(C.sft_tokenizer_encode(tokenizer, text, 3, 0, &ids[0], 16, &count) == C.SFT_OK, "sft_tokenizer_encode")
	check(count > 0 && count <= 3, "the count")
	C.sft_tokenizer_free(tokenizer)
	fmt.Println("ok")
}
