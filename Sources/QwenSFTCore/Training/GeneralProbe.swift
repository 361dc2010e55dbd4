/// A fixed set of questions and answers about nothing in particular, in English and Chinese. What they cost the model before and
/// after tells whether it is forgetting what it was not trained on. They are plain enough that every chat model agrees with them; the
/// number means nothing by itself, its change does.
enum GeneralProbe {
    private static let pairs = [
        ("What is the capital of France?", "The capital of France is Paris."),
        ("Name the four seasons.", "The four seasons are spring, summer, autumn and winter."),
        ("What is 12 times 8?", "12 times 8 is 96."),
        ("Translate to German: good morning.", "Guten Morgen."),
        (
            "Why is the sky blue?",
            "Air scatters short wavelengths of sunlight more than long ones, so the sky looks blue."
        ),
        ("Write a Python function that adds two numbers.", "def add(a, b):\n    return a + b"),
        ("Give me a synonym for \"happy\".", "A synonym for \"happy\" is \"cheerful\"."),
        ("How many days are in a leap year?", "A leap year has 366 days."),
        ("Correct this sentence: She go to school yesterday.", "She went to school yesterday."),
        ("What do plants need to grow?", "Plants need water, light, air and nutrients to grow."),
        ("中国的首都是哪里?", "中国的首都是北京。"),
        ("水在多少摄氏度时沸腾?", "在标准大气压下,水在100摄氏度时沸腾。"),
        ("请用一句话介绍太阳。", "太阳是位于太阳系中心的恒星,为地球提供光和热。"),
        ("把“谢谢”翻译成英语。", "“谢谢”的英语是“thank you”。"),
        ("一周有几天?", "一周有七天。"),
        ("请写出三种水果。", "苹果、香蕉和橙子。"),
    ]

    /// As a tokenizer's template writes them.
    /// - Throws: what a template says that wants other conversations.
    static func data(_ tokenizer: Tokenizer) throws(QwenSFTError) -> EncodedDataset {
        let conversations = pairs.map { question, answer in
            [Message(role: "user", content: question), Message(role: "assistant", content: answer)]
        }
        return try EncodedDataset(
            Dataset(conversations), tokenizer: tokenizer, options: PreprocessOptions(labelPolicy: .assistant))
    }
}
