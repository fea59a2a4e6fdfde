/// Names of the packages' parts. Beside these, everything is read from manifest.json; a Python test compares this file
/// with an exported bundle.
enum Roles {
    static let vision = "vision"
    static let embedding = "embedding"
    static let decoder = "decoder"
    static let head = "head"
    static let image = "image"
    static let text = "text"
}

enum Functions {
    static let decode = "decode"
    static let prefill = "prefill"
}

enum Inputs {
    static let pixels = "pixel_values"
    static let ids = "input_ids"
    static let hidden = "hidden_states"
    static let position = "position"
    static let length = "length"
    static let image = "image"
}

enum Outputs {
    static let features = "features"
    static let separators = "separators"
    /// What they are called where an image begins with its global view.
    static let separatorsGlobalFirst = "separators_global_first"
    static let embeddings = "inputs_embeds"
    static let hidden = "output_hidden_states"
    static let logits = "logits"
    static let image = "image_embeds"
    static let text = "text_embeds"
}

/// In a package's user-defined metadata.
enum Keys {
    static let manifest = "nexus_edge.manifest_sha256"
}
