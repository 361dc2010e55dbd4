import QwenSFTCore
import Testing

@Suite struct BatchTests {
    private func batch(
        _ ids: [Int64] = [5, 6, 7, 8, 9, 0], _ labels: [Int64] = [-100, 6, 7, 8, 9, -100],
        _ mask: [Int64]? = [1, 1, 1, 1, 1, 0],
        weights: [Float]? = nil, rows: Int = 2, columns: Int = 3
    ) throws -> Batch {
        try Batch(
            inputIDs: ids, labels: labels, attentionMask: mask, tokenWeights: weights, rows: rows, columns: columns)
    }

    @Test func fromArrays() throws {
        let made = try batch(weights: [0, 1, 0, 0, 2.5, 0])
        #expect(made.rows == 2 && made.columns == 3)
        #expect(made.tokenWeights == [0, 1, 0, 0, 2.5, 0])
        #expect(try batch(mask: nil).attentionMask == [1, 1, 1, 1, 1, 1])
    }

    private func batch(mask: [Int64]?) throws -> Batch {
        try batch([5, 6, 7, 8, 9, 0], [-100, 6, 7, 8, 9, -100], mask)
    }

    @Test func refusedShapes() {
        expectError(.invalidArgument, "a batch of 0 rows and 3 columns is empty") { try batch(rows: 0) }
        expectError(.invalidArgument, "a batch of 2 rows and -1 columns is empty") { try batch(columns: -1) }
        expectError(.invalidArgument, "a batch of 9223372036854775807 rows and 3 columns has no possible size") {
            try batch(rows: .max)
        }
        expectError(.invalidArgument, "input_ids: 5 elements are not 2 rows of 3") { try batch([1, 2, 3, 4, 5]) }
        expectError(.invalidArgument, "labels: 0 elements are not 2 rows of 3") { try batch([5, 6, 7, 8, 9, 0], []) }
        expectError(.invalidArgument, "attention_mask: 1 elements are not 2 rows of 3") { try batch(mask: [1]) }
        expectError(.invalidArgument, "token_weights: 7 elements are not 2 rows of 3") {
            try batch(weights: [Float](repeating: 1, count: 7))
        }
    }

    /// Rows keep their own lengths: one long conversation among many short ones costs nothing until arrays are asked for.
    @Test func moreThanMemory() throws {
        let sequences = LabelledSequences()
        try sequences.append(unlabelled: Array(repeating: 1, count: 1 << 22), conversation: 0)
        for i in 1...1 << 22 { try sequences.append(unlabelled: [1], conversation: i) }
        let batch = try Batch(sequences, paddingID: 0)
        #expect(batch.rows == 4_194_305 && batch.columns == 4_194_304)
        let error = #expect(throws: QwenSFTError.self) { _ = try BatchArrays(batch) }
        #expect(error?.code == .outOfMemory)
        #expect(error?.message == "input_ids: no memory for 17592190238720 elements")
    }

    @Test func paddingOnTheLeft() throws {
        let made = try Batch(
            inputIDs: [-1, 5, 6, 7, -1, -1], labels: [-100, -100, 6, -100, -100, -100],
            attentionMask: [0, 1, 1, 1, 0, 0], tokenWeights: [3, 1, 2, 1, 1, 1], rows: 2, columns: 3)
        #expect(made.inputIDs == [0, 5, 6, 7, 0, 0])
        #expect(made.labels == [-100, -100, 6, -100, -100, -100])
        #expect(made.attentionMask == [0, 1, 1, 1, 0, 0])
        #expect(made.tokenWeights == [0, 1, 2, 1, 0, 0])
        let arrays = try BatchArrays(made)
        #expect(
            Array(arrays.inputIDs.buffer) == made.inputIDs && Array(arrays.tokenWeights.buffer) == made.tokenWeights)
        // Wholly padded rows, and a mask with a hole.
        #expect(try batch([0, 0, 0, 8, 9, 0], [-100, -100, -100, 8, 9, -100], [0, 0, 0, 1, 1, 0]).rows == 2)
        expectError(
            .invalidArgument,
            "attention_mask: row 0, position 2: a 1 after 1s and 0s; the real tokens of a row must be neighbors"
        ) {
            try batch([5, 6, 7, 8, 9, 0], [Int64](repeating: -100, count: 6), [1, 0, 1, 1, 1, 0])
        }
    }

    @Test func equality() throws {
        #expect(try batch() == batch())
        #expect(try batch() != batch([5, 6, 7, 8, 10, 0], [-100, 6, 7, 8, 9, -100]))
        #expect(try batch() != batch(weights: [1, 1, 1, 1, 1, 1]))
        #expect(try batch() != batch([5, 6, 7, 0, 8, 9], [-100, 6, 7, -100, 8, 9], [1, 1, 1, 0, 1, 1]))
    }

    @Test func refusedValues() throws {
        expectError(.invalidArgument, "input_ids: row 0, position 1: -1 is not a token id") {
            try batch([5, -1, 7, 8, 9, 0])
        }
        // At padding anything may stand.
        #expect(try batch([5, 6, 7, 8, 9, -1]).inputIDs.last == 0)
        expectError(.invalidArgument, "input_ids: row 0, position 1: 2147483648 is not a token id") {
            try batch([5, 1 << 31, 7, 8, 9, 0])
        }
        expectError(.invalidArgument, "labels: row 1, position 0: -1 is neither -100 nor a token id") {
            try batch([5, 6, 7, 8, 9, 0], [-100, 6, 7, -1, 9, -100])
        }
        expectError(.invalidArgument, "labels: row 1, position 2: padding has the label 0, not -100") {
            try batch([5, 6, 7, 8, 9, 0], [-100, 6, 7, 8, 9, 0])
        }
        expectError(.invalidArgument, "attention_mask: row 0, position 2: 2 is neither 0 nor 1") {
            try batch(mask: [1, 1, 2, 1, 1, 0])
        }
        for weight in [-1, Float.nan, .infinity] {
            expectError(
                .invalidArgument, "token_weights: row 1, position 1: \(weight) is not a finite, non-negative number"
            ) {
                try batch(weights: [1, 1, 1, 1, weight, 1])
            }
        }
    }
}
