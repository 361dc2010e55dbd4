/*
 * Several processes train one model together, with MPI.
 *
 *     mpicc mpi.c $(pkg-config --cflags --libs qwensft) -o mpi
 *     mpirun -n 4 ./mpi CHECKPOINT DATA.jsonl OUTPUT [LEARNING_RATE]
 *
 * Every process opens the same checkpoint and the same data and takes its part of each step's conversations; the first one
 * saves. The library itself knows nothing of MPI: it asks for a sum over all processes.
 */
#include <mpi.h>
#include <qwensft.h>
#include <stdio.h>
#include <stdlib.h>

static void check(sft_status status) {
    if (status == SFT_OK) return;
    fprintf(stderr, "mpi: %s (%s)\n", sft_last_error(), sft_status_name(status));
    /* All processes fail together, unless MPI itself does. */
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static int32_t all_reduce(void *user_data, float *values, size_t count) {
    MPI_Comm *world = (MPI_Comm *)user_data;
    return MPI_Allreduce(MPI_IN_PLACE, values, (int)count, MPI_FLOAT, MPI_SUM, *world);
}

int main(int argc, char **argv) {
    int rank, size;
    MPI_Init(&argc, &argv);
    MPI_Comm world = MPI_COMM_WORLD;
    MPI_Comm_set_errhandler(world, MPI_ERRORS_RETURN);
    MPI_Comm_rank(world, &rank);
    MPI_Comm_size(world, &size);
    if (argc < 4) {
        fprintf(stderr, "usage: mpi CHECKPOINT DATA.jsonl OUTPUT [LEARNING_RATE]\n");
        MPI_Abort(world, 2);
    }
    const char *directory = argv[1], *data = argv[2], *output = argv[3];

    sft_tokenizer *tokenizer;
    sft_model *model;
    sft_dataset *dataset;
    sft_trainer *trainer;
    sft_run *run;
    sft_adamw_options adamw;
    sft_trainer_options options;
    sft_run_options run_options;
    sft_run_step step;

    check(sft_tokenizer_open(directory, SFT_ZSTRING, &tokenizer));
    check(sft_model_open(directory, SFT_ZSTRING, NULL, &model));
    check(sft_dataset_open(tokenizer, data, SFT_ZSTRING, NULL, NULL, &dataset));
    check(sft_adamw_options_init(&adamw, sizeof adamw));
    adamw.lr = argc > 4 ? atof(argv[4]) : 1e-5;
    check(sft_trainer_options_init(&options, sizeof options));
    options.max_grad_norm = 1;
    options.all_reduce = all_reduce;
    options.user_data = &world;
    options.rank = (size_t)rank;
    options.world_size = (size_t)size;
    check(sft_trainer_create_adamw(model, &adamw, &options, &trainer));
    check(sft_run_options_init(&run_options, sizeof run_options));
    run_options.batch_size = 2; /* of each process */
    check(sft_run_create(trainer, dataset, &run_options, &run));
    for (;;) {
        check(sft_run_next(run, &step, sizeof step));
        if (step.step == 0) break;
        if (rank == 0) printf("step %zu/%zu: loss %.6f\n", step.step, step.total_steps, step.loss);
    }
    if (rank == 0) check(sft_model_save(model, output, SFT_ZSTRING, NULL));

    sft_run_free(run);
    sft_trainer_free(trainer);
    sft_dataset_free(dataset);
    sft_model_free(model);
    sft_tokenizer_free(tokenizer);
    MPI_Finalize();
    return 0;
}
