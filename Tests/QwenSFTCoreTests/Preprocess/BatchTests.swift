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

    /// One long conversation among many short ones: all of them would be as long.
    @Test func moreThanMemory() {
        var long = LabelledRow()
        long.ids = Array(repeating: 1, count: 1 << 22)
        long.labels = long.ids
        let rows = [long] + Array(repeating: LabelledRow(), count: 1 << 22)
        let error = #expect(throws: QwenSFTError.self) { try Batch(rows, padTokenID: 0, endOfTurnID: 1) }
        #expect(error?.code == .outOfMemory)
        #expect(error?.message.hasPrefix("a batch of 4194305 rows and 4194304 columns: ") == true)
    }

    @Test func refusedValues() throws {
        expectError(.invalidArgument, "input_ids: row 0, position 1: -1 is no token id") {
            try batch([5, -1, 7, 8, 9, 0])
        }
        // At padding anything may stand.
        #expect(try batch([5, 6, 7, 8, 9, -1]).inputIDs.last == -1)
        expectError(.invalidArgument, "labels: row 1, position 0: -1 is neither -100 nor a token id") {
            try batch([5, 6, 7, 8, 9, 0], [-100, 6, 7, -1, 9, -100])
        }
        expectError(.invalidArgument, "labels: row 1, position 2: padding has the label 0, not -100") {
            try batch([5, 6, 7, 8, 9, 0], [-100, 6, 7, 8, 9, 0])
        }
        expectError(.invalidArgument, "attention_mask: row 0, position 2: 2 is neither 0 nor 1") {
            try batch(mask: [1, 1, 2, 1, 1, 0])
        }
        for (mask, place) in [([1, 0, 1, 1, 1, 0], "row 0, position 2"), ([1, 1, 1, 0, 1, 1], "row 1, position 1")]
            as [([Int64], String)]
        {
            expectError(
                .invalidArgument, "attention_mask: \(place): a 1 after a 0; only padding on the right is supported"
            ) {
                try batch([5, 6, 7, 8, 9, 0], [Int64](repeating: -100, count: 6), mask)
            }
        }
        for weight in [-1, Float.nan, .infinity] {
            expectError(
                .invalidArgument, "token_weights: row 1, position 1: \(weight) is not a finite number from 0 on"
            ) {
                try batch(weights: [1, 1, 1, 1, weight, 1])
            }
        }
    }
}
