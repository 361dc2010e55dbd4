/* Wrong objects, freed objects, no objects; any order of freeing. */
#include "check.h"

int main(int argc, char **argv) {
    CHECK(argc == 2);
    sft_tokenizer *tokenizer;
    sft_model *model;
    sft_trainer *trainer;
    sft_batch *batch;
    OK(sft_tokenizer_open(argv[1], SFT_ZSTRING, &tokenizer));
    OK(sft_model_open(argv[1], SFT_ZSTRING, NULL, &model));
    OK(sft_trainer_create_sgd(model, NULL, NULL, &trainer));

    size_t size;
    FAILS(sft_tokenizer_summary(NULL, NULL, 0, &size), SFT_INVALID_ARGUMENT, "argument 'tokenizer' is NULL");
    FAILS(sft_tokenizer_summary((sft_tokenizer *)model, NULL, 0, &size), SFT_INVALID_ARGUMENT,
          "argument 'tokenizer' is not a live sft_tokenizer");
    FAILS(sft_tokenizer_summary((sft_tokenizer *)((char *)model + 1), NULL, 0, &size), SFT_INVALID_ARGUMENT,
          "argument 'tokenizer' is not a live sft_tokenizer");
    FAILS(sft_train_step((sft_trainer *)tokenizer, NULL, NULL, 0), SFT_INVALID_ARGUMENT,
          "argument 'trainer' is not a live sft_trainer");
    FAILS(sft_train_step(trainer, NULL, NULL, 0), SFT_INVALID_ARGUMENT, "argument 'batch' is NULL");
    FAILS(sft_trainer_create_sgd(NULL, NULL, NULL, &trainer), SFT_INVALID_ARGUMENT, "argument 'model' is NULL");
    CHECK(trainer == NULL);
    OK(sft_trainer_create_sgd(model, NULL, NULL, &trainer));
    FAILS(sft_trainer_create_sgd(model, NULL, NULL, NULL), SFT_INVALID_ARGUMENT, "argument 'trainer' is NULL");
    CHECK(sft_generation_ids(NULL, &size) == NULL && size == 0);
    CHECK(sft_generation_text((sft_generation *)model, &size) == NULL && size == 0);
    CHECK(sft_model_parameter_count(NULL) == 0);

    /* NULL is fine, another type's object is left alone. */
    sft_tokenizer_free(NULL);
    sft_model_free(NULL);
    sft_batch_free(NULL);
    sft_trainer_free(NULL);
    sft_generation_free(NULL);
    sft_tokenizer_free((sft_tokenizer *)model);

    /* A trainer keeps its model alive. */
    sft_model_free(model);
    const int64_t ids[] = {1, 2, 3};
    OK(sft_batch_create(1, 3, ids, ids, NULL, NULL, &batch));
    OK(sft_train_step(trainer, batch, NULL, 0));
    sft_trainer_free(trainer);
    sft_batch_free(batch);
    sft_tokenizer_free(tokenizer);

    /* Freed objects are refused, and freeing them again does nothing. */
    FAILS(sft_tokenizer_summary(tokenizer, NULL, 0, &size), SFT_INVALID_ARGUMENT,
          "argument 'tokenizer' is not a live sft_tokenizer");
    sft_tokenizer_free(tokenizer);
    OK(sft_tokenizer_open(argv[1], SFT_ZSTRING, &tokenizer));
    OK(sft_batch_create(1, 3, ids, ids, NULL, NULL, &batch));
    sft_batch_free(batch);
    sft_batch_free(batch);
    sft_batch_view view;
    FAILS(sft_batch_get_view(batch, &view, sizeof view), SFT_INVALID_ARGUMENT, "argument 'batch' is not a live sft_batch");
    FAILS(sft_tokenizer_summary(tokenizer, NULL, 0, &size), SFT_BUFFER_TOO_SMALL, "elements");
    sft_tokenizer_free(tokenizer);
    return finish();
}
