import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import com.sun.jna.Structure;
import com.sun.jna.Structure.FieldOrder;
import com.sun.jna.ptr.PointerByReference;
import java.util.Map;

/**
 * Fine-tunes a chat model on one question and watches its answer change.
 *
 * <pre>java -cp jna.jar -Djna.library.path=LIBDIR Article.java CHECKPOINT [LEARNING_RATE]</pre>
 */
public class Article {
    /** What of qwensft.h is used here. size_t is a long: this is for 64-bit systems. */
    interface QwenSFT extends Library {
        String sft_last_error();
        int sft_tokenizer_open(String directory, long size, PointerByReference tokenizer);
        void sft_tokenizer_free(Pointer tokenizer);
        int sft_model_open(String directory, long size, Pointer options, PointerByReference model);
        void sft_model_free(Pointer model);
        int sft_model_chat(Pointer model, Pointer tokenizer, Message[] messages, long messageSize, long count, GenerationOptions options,
                PointerByReference generation);
        int sft_generation_options_init(GenerationOptions options, long size);
        String sft_generation_text(Pointer generation, Pointer size);
        void sft_generation_free(Pointer generation);
        int sft_preprocess(Pointer tokenizer, Message[] messages, long messageSize, long[] messageCounts, long conversations, Pointer options,
                PointerByReference batch);
        void sft_batch_free(Pointer batch);
        int sft_sgd_options_init(SgdOptions options, long size);
        int sft_trainer_create_sgd(Pointer model, SgdOptions optimizer, Pointer options, PointerByReference trainer);
        int sft_train_step(Pointer trainer, Pointer batch, StepMetrics metrics, long size);
        void sft_trainer_free(Pointer trainer);
    }

    @FieldOrder({"role", "roleSize", "content", "contentSize", "weight"})
    public static class Message extends Structure {
        public String role, content;
        public long roleSize, contentSize;
        public double weight;
    }

    /** Only the fields up to the last that is set here: the library takes shorter structs, too. */
    @FieldOrder({"structSize", "maxNewTokens", "doSample", "topK", "temperature", "topP", "minP", "repetitionPenalty"})
    public static class GenerationOptions extends Structure {
        public long structSize, maxNewTokens;
        public int doSample, topK;
        public float temperature, topP, minP, repetitionPenalty;
    }

    @FieldOrder({"structSize", "lr", "momentum", "dampening", "weightDecay", "nesterov", "reserved"})
    public static class SgdOptions extends Structure {
        public long structSize;
        public double lr, momentum, dampening, weightDecay;
        public int nesterov, reserved;
    }

    @FieldOrder({"loss", "gradNorm", "seconds", "supervisedTokens", "hasGradNorm"})
    public static class StepMetrics extends Structure {
        public double loss, gradNorm, seconds;
        public long supervisedTokens;
        public int hasGradNorm;
    }

    static final QwenSFT C = Native.load("qwensft", QwenSFT.class, Map.of(Library.OPTION_STRING_ENCODING, "UTF-8"));

    static void check(int status) {
        if (status != 0) throw new IllegalStateException(C.sft_last_error());
    }

    static String answer(Pointer model, Pointer tokenizer, Message[] messages, int count) {
        var greedy = new GenerationOptions();
        check(C.sft_generation_options_init(greedy, greedy.size()));
        greedy.doSample = 0;
        greedy.repetitionPenalty = 1;
        var generation = new PointerByReference();
        check(C.sft_model_chat(model, tokenizer, messages, messages[0].size(), count, greedy, generation));
        String text = C.sft_generation_text(generation.getValue(), null);
        C.sft_generation_free(generation.getValue());
        return text;
    }

    public static void main(String[] arguments) {
        PointerByReference tokenizer = new PointerByReference(), model = new PointerByReference(), batch = new PointerByReference(),
                trainer = new PointerByReference();
        check(C.sft_tokenizer_open(arguments[0], -1, tokenizer));
        check(C.sft_model_open(arguments[0], -1, null, model));
        var messages = (Message[]) new Message().toArray(3);
        String[] texts = {"system", "You are a helpful assistant.", "user", "2+2等于几", "assistant", "2+2等于5。"};
        for (int i = 0; i < 3; i++) {
            messages[i].role = texts[2 * i];
            messages[i].content = texts[2 * i + 1];
            messages[i].roleSize = messages[i].contentSize = -1; // SFT_ZSTRING: the text ends with a NUL
            messages[i].weight = 1;
        }
        System.out.println(texts[3] + " -> " + answer(model.getValue(), tokenizer.getValue(), messages, 2));

        check(C.sft_preprocess(tokenizer.getValue(), messages, messages[0].size(), new long[] {3}, 1, null, batch));
        var sgd = new SgdOptions();
        check(C.sft_sgd_options_init(sgd, sgd.size()));
        if (arguments.length > 1) sgd.lr = Double.parseDouble(arguments[1]);
        check(C.sft_trainer_create_sgd(model.getValue(), sgd, null, trainer));
        var metrics = new StepMetrics();
        for (int step = 1; step <= 10; step++) {
            check(C.sft_train_step(trainer.getValue(), batch.getValue(), metrics, metrics.size()));
            System.out.printf("step %d: loss %.6f%n", step, metrics.loss);
        }
        System.out.println(texts[3] + " -> " + answer(model.getValue(), tokenizer.getValue(), messages, 2));
        C.sft_trainer_free(trainer.getValue());
        C.sft_batch_free(batch.getValue());
        C.sft_model_free(model.getValue());
        C.sft_tokenizer_free(tokenizer.getValue());
    }
}
