<?php
// header.php PLAIN_HEADER LIBRARY CHECKPOINT: PHP's FFI reads the header and calls the library.
ini_set('assert.exception', '1');
$C = FFI::cdef(file_get_contents($argv[1]), $argv[2]);

function check(bool $condition, string $what): void
{
    if (!$condition) {
        exit("$what\n");
    }
}

check(FFI::sizeof($C->type('sft_dtype')) === 4, 'sft_dtype');
check($C->sft_status_name($C->SFT_BUSY) === 'SFT_BUSY', 'sft_status_name');

$options = $C->new('sft_run_options');
check($C->sft_run_options_init(FFI::addr($options), FFI::sizeof($options)) === $C->SFT_OK, 'sft_run_options_init');
check($options->batch_size === 8 && $options->schedule === $C->SFT_SCHEDULE_CONSTANT, 'defaults');

$tokenizer = $C->new('sft_tokenizer *');
check($C->sft_tokenizer_open('/nowhere', 8, FFI::addr($tokenizer)) === $C->SFT_NOT_FOUND, 'a tokenizer from nowhere');
check(str_contains($C->sft_last_error(), '/nowhere'), 'sft_last_error');
check($C->sft_tokenizer_open($argv[3], strlen($argv[3]), FFI::addr($tokenizer)) === $C->SFT_OK, 'sft_tokenizer_open');
$ids = $C->new('int32_t[16]');
$count = $C->new('size_t');
check($C->sft_tokenizer_encode($tokenizer, '2+2', 3, 0, $ids, 16, FFI::addr($count)) === $C->SFT_OK, 'sft_tokenizer_encode');
check($count->cdata > 0 && $count->cdata <= 3, 'the count');
$C->sft_tokenizer_free($tokenizer);
echo "ok\n";
