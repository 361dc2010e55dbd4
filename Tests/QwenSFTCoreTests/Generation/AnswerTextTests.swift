import QwenSFTCore
import Testing

@Suite struct AnswerTextTests {
    /// The text that comes out of `text` fed byte by byte, and how many bytes were fed.
    func cut(_ text: String, _ stops: [String]) throws -> (text: String, fed: Int, isStopped: Bool) {
        let tokenizer = try qwen2Tokenizer()
        var answer = AnswerText(tokenizer, stopStrings: stops)
        var (result, fed) = ("", 0)
        for id in try byteTokens(Array(text.utf8), tokenizer) {
            result += answer.append(id)
            fed += 1
            if answer.isStopped { return (result, fed, true) }
        }
        return (result + answer.finish(), fed, answer.isStopped)
    }

    @Test func textEndsBeforeTheStopString() throws {
        #expect(try cut("one two three", ["two"]) == ("one ", 7, true))
        #expect(try cut("one two three", ["four"]) == ("one two three", 13, false))
        #expect(try cut("a日本b", ["本"]) == ("a日", 7, true))
        #expect(try cut("stop", ["stop"]) == ("", 4, true))
    }

    @Test func whatOnlyBeginsAStopStringIsHandedOut() throws {
        #expect(try cut("ababac", ["abac"]) == ("ab", 6, true))
        #expect(try cut("aab", ["ab"]) == ("a", 3, true))
        #expect(try cut("one tw", ["two"]) == ("one tw", 6, false))
    }

    @Test func theFirstCompleteStopStringCounts() throws {
        #expect(try cut("abcd", ["abcd", "bc"]) == ("a", 3, true))
        #expect(try cut("abcd", ["bc", "abc"]) == ("", 3, true))
    }

    /// Text that comes in longer pieces is cut at the same place.
    @Test func tokensOfSeveralLetters() throws {
        let tokenizer = try qwen2Tokenizer()
        for (text, stop) in [("The quick brown fox", "k br"), ("a. b. c", ". c"), ("x\n\ny", "\n\n")] {
            var answer = AnswerText(tokenizer, stopStrings: [stop])
            var result = ""
            for id in try tokenizer.encode(text) where !answer.isStopped { result += answer.append(id) }
            #expect(answer.isStopped && result + stop == text.prefix(result.count + stop.count))
            #expect(try cut(text, [stop]).text == result)
        }
    }
}
