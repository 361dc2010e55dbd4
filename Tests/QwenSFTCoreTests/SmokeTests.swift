import Testing
@testable import QwenSFTCore
