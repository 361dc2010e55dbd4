// swift-format-ignore-file: AlwaysUseLowerCamelCase

import QwenSFTCore

/// An options struct of the header, beside what the core calls it. Its list of fields serves both directions: the defaults
/// that C is given are the core's, and what C sets is checked and becomes the core's.
protocol OptionsStruct {
    associatedtype Core

    /// All zero.
    init()
    var struct_size: Int { get set }
    static var coreDefaults: Core { get }
    static var fields: [OptionsField<Self, Core>] { get }
}

extension OptionsStruct {
    static var defaults: Self { Self(coreDefaults) }

    /// The fields as the core has them.
    init(_ core: Core) {
        self.init()
        struct_size = MemoryLayout<Self>.stride
        for field in Self.fields { field.write(core, &self) }
    }

    func core() throws(QwenSFTError) -> Core {
        var result = Self.coreDefaults
        for field in Self.fields { try field.read(self, &result) }
        return result
    }
}

/// How a field goes from the header's struct to the core's and back. The name is for messages.
struct OptionsField<Options, Core> {
    let read: (Options, inout Core) throws(QwenSFTError) -> Void
    let write: (Core, inout Options) -> Void

    /// A value that is the same on both sides; the core checks it.
    static func same<Value>(
        _ field: WritableKeyPath<Options, Value>, _ property: WritableKeyPath<Core, Value>
    ) -> Self {
        Self(
            read: { (options, core) throws(QwenSFTError) in core[keyPath: property] = options[keyPath: field] },
            write: { core, options in options[keyPath: field] = core[keyPath: property] })
    }

    /// A value of which one stands for "none".
    static func optional<Value: Equatable>(
        _ field: WritableKeyPath<Options, Value>, _ property: WritableKeyPath<Core, Value?>, none: Value
    ) -> Self {
        Self(
            read: { (options, core) throws(QwenSFTError) in
                let value = options[keyPath: field]
                core[keyPath: property] = value == none ? nil : value
            },
            write: { core, options in options[keyPath: field] = core[keyPath: property] ?? none })
    }

    /// A size, 0 for "none".
    static func size(
        _ name: String, _ field: WritableKeyPath<Options, Int>, _ property: WritableKeyPath<Core, Int?>
    ) -> Self {
        let plain = optional(field, property, none: 0)
        return Self(
            read: { (options, core) throws(QwenSFTError) in
                guard options[keyPath: field] >= 0 else { throw .size(name) }
                try plain.read(options, &core)
            }, write: plain.write)
    }

    /// A count of at least 1.
    static func count(
        _ name: String, _ field: WritableKeyPath<Options, Int>, _ property: WritableKeyPath<Core, Int>
    ) -> Self {
        let plain = same(field, property)
        return Self(
            read: { (options, core) throws(QwenSFTError) in
                guard options[keyPath: field] > 0 else {
                    let value = UInt(bitPattern: options[keyPath: field])
                    throw QwenSFTError(.invalidArgument, "'\(name)' is \(value), expected at least 1")
                }
                try plain.read(options, &core)
            }, write: plain.write)
    }

    /// 0 or 1.
    static func flag(
        _ name: String, _ field: WritableKeyPath<Options, Int32>, _ property: WritableKeyPath<Core, Bool>
    ) -> Self {
        Self(
            read: { (options, core) throws(QwenSFTError) in
                core[keyPath: property] = try QwenSFTCAPI.flag(options[keyPath: field], name)
            },
            write: { core, options in options[keyPath: field] = core[keyPath: property] ? 1 : 0 })
    }

    /// 0 or 1, or -1 for "not said".
    static func choice(
        _ name: String, _ field: WritableKeyPath<Options, Int32>, _ property: WritableKeyPath<Core, Bool?>
    ) -> Self {
        Self(
            read: { (options, core) throws(QwenSFTError) in
                let value = options[keyPath: field]
                guard (-1...1).contains(value) else {
                    throw QwenSFTError(.invalidArgument, "'\(name)' is \(value), expected 0, 1 or -1")
                }
                core[keyPath: property] = value == -1 ? nil : value == 1
            },
            write: { core, options in options[keyPath: field] = core[keyPath: property].map { $0 ? 1 : 0 } ?? -1 })
    }

    /// One of a family of constants.
    static func constant<Value: Equatable>(
        _ name: String, _ family: Constants<Value>, _ field: WritableKeyPath<Options, Int32>,
        _ property: WritableKeyPath<Core, Value>
    ) -> Self {
        Self(
            read: { (options, core) throws(QwenSFTError) in
                core[keyPath: property] = try family.value(options[keyPath: field], name)
            },
            write: { core, options in options[keyPath: field] = family.constant(core[keyPath: property]) })
    }

    /// What later versions may give a meaning.
    static func reserved(_ field: WritableKeyPath<Options, Int32>) -> Self {
        Self(
            read: { (options, _) throws(QwenSFTError) in
                let value = options[keyPath: field]
                guard value == 0 else { throw QwenSFTError(.unsupported, "'reserved' is \(value), expected 0") }
            }, write: { _, _ in })
    }
}
