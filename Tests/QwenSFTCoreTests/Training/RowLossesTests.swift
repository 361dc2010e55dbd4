import QwenSFTCore
import Testing

@Suite(.serialized, .processWide) struct RowLossesTests {
    @Test func aRowCostsWhatItCostsAlone() throws {
        let (model, tokenizer) = (try Model(directory: tinyModelDirectory), try tinyTokenizer())
        let conversations = ["4", "17 and more"].map { answer in
            [Message(role: "user", content: "2+2"), Message(role: "assistant", content: answer)]
        }
        let trainer = try Trainer(model)
        let batch = try Batch(conversations, tokenizer: tokenizer)
        let losses = try trainer.rowLosses(batch)
        for (conversation, loss) in zip(conversations, losses) {
            let alone = try trainer.evaluate(Batch([conversation], tokenizer: tokenizer)).loss
            #expect(abs(loss - alone) < 1e-4 * alone)
        }
        // Weights of 0 take a row out of it.
        let half = try Batch(
            inputIDs: batch.inputIDs, labels: batch.labels, attentionMask: batch.attentionMask,
            tokenWeights: (0..<batch.labels.count).map { $0 < batch.columns ? 2 : 0 }, rows: 2, columns: batch.columns)
        let weighted = try trainer.rowLosses(half)
        #expect(abs(weighted[0] - losses[0]) < 1e-4 * losses[0] && weighted[1].isNaN)
    }
}
