// Fine-tunes a chat model on one question and watches its answer change.
//
//	go run . CHECKPOINT [LEARNING_RATE]
package main

// #cgo pkg-config: qwensft
// #include <qwensft.h>
// #include <stdlib.h>
import "C"

import (
	"fmt"
	"log"
	"os"
	"runtime"
	"strconv"
	"unsafe"
)

func check(status C.sft_status) {
	if status != C.SFT_OK {
		log.Fatalf("%s (%s)", C.GoString(C.sft_last_error()), C.GoString(C.sft_status_name(status)))
	}
}

// In C's memory, which the library may point at for as long as it is not freed.
func message(role, content string) C.sft_message {
	return C.sft_message{role: C.CString(role), role_size: C.SFT_ZSTRING, content: C.CString(content), content_size: C.SFT_ZSTRING, weight: 1}
}

func ask(model *C.sft_model, tokenizer *C.sft_tokenizer, messages []C.sft_message) {
	var options C.sft_generation_options
	check(C.sft_generation_options_init(&options, C.size_t(unsafe.Sizeof(options))))
	options.do_sample, options.repetition_penalty = 0, 1 // greedy: the same weights give the same answer
	var answer *C.sft_generation
	check(C.sft_model_chat(model, tokenizer, &messages[0], C.size_t(unsafe.Sizeof(messages[0])), C.size_t(len(messages)), &options, &answer))
	defer C.sft_generation_free(answer)
	fmt.Println(C.GoString(messages[len(messages)-1].content), "->", C.GoString(C.sft_generation_text(answer, nil)))
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: article CHECKPOINT [LEARNING_RATE]")
	}
	// The last error belongs to the operating system's thread, which a goroutine may leave between two calls.
	runtime.LockOSThread()
	directory := C.CString(os.Args[1])
	defer C.free(unsafe.Pointer(directory))
	var tokenizer *C.sft_tokenizer
	check(C.sft_tokenizer_open(directory, C.SFT_ZSTRING, &tokenizer))
	defer C.sft_tokenizer_free(tokenizer)
	var model *C.sft_model
	check(C.sft_model_open(directory, C.SFT_ZSTRING, nil, &model))
	defer C.sft_model_free(model)

	messages := []C.sft_message{
		message("system", "You are a helpful assistant."), message("user", "2+2等于几"), message("assistant", "2+2等于5。"),
	}
	defer func() {
		for _, m := range messages {
			C.free(unsafe.Pointer(m.role))
			C.free(unsafe.Pointer(m.content))
		}
	}()
	ask(model, tokenizer, messages[:2])

	var batch *C.sft_batch
	count := C.size_t(len(messages))
	check(C.sft_preprocess(tokenizer, &messages[0], C.size_t(unsafe.Sizeof(messages[0])), &count, 1, nil, &batch))
	defer C.sft_batch_free(batch)
	var sgd C.sft_sgd_options
	check(C.sft_sgd_options_init(&sgd, C.size_t(unsafe.Sizeof(sgd))))
	if len(os.Args) > 2 {
		rate, err := strconv.ParseFloat(os.Args[2], 64)
		if err != nil {
			log.Fatal(err)
		}
		sgd.lr = C.double(rate)
	}
	var trainer *C.sft_trainer
	check(C.sft_trainer_create_sgd(model, &sgd, nil, &trainer))
	defer C.sft_trainer_free(trainer)
	for step := 1; step <= 10; step++ {
		var metrics C.sft_step_metrics
		check(C.sft_train_step(trainer, batch, &metrics, C.size_t(unsafe.Sizeof(metrics))))
		fmt.Printf("step %d: loss %.6f\n", step, float64(metrics.loss))
	}
	ask(model, tokenizer, messages[:2])
}
