/// This library. Made of include/qwensft.h by scripts/make_bindings.py (`make bindings`); not to be edited.
public enum QwenSFTLibrary {
    /// Its version, as in the header.
    public static let version: StaticString = "0.2.0"
}
