import Foundation
import NexusEdgeCore

/// The tasks by name, with the processors of folders that were named before.
struct Tasks {
    private var phi3: [String: Phi3Processor] = [:]
    private var biomedclip: [String: BiomedClipProcessor] = [:]

    mutating func answer(_ request: Request) throws -> Answer {
        let fields = request.fields
        switch try fields.text("task") {
        case "phi3_ids":
            return Answer(ids: try tokenizer(request).encode(
                try fields.text("text"), addBos: try fields.bool("add_bos", true)))
        case "phi3_decode":
            return Answer(text: try tokenizer(request).decode(
                try fields.integers("ids"), skipSpecial: try fields.bool("skip_special", true)))
        case "phi3_stream":
            var stream = StreamDecoder(try tokenizer(request))
            return Answer(texts: try fields.integers("ids").map { stream.push($0) } + [stream.flush()])
        case "phi3_whole":
            return Answer(ids: try processor(request).ids(
                whole: try fields.text("text"), imageTokens: try fields.integers("image_tokens")))
        case "phi3_is_whole":
            return Answer(ids: [try processor(request).chat.isWhole(try fields.text("text")) ? 1 : 0])
        case "phi3_chat":
            let prompt = try processor(request).chat.render(try request.messages())
            return Answer(
                ids: try processor(request).ids(prompt: prompt, imageTokens: try fields.integers("image_tokens")),
                text: prompt.description)
        case "phi3_picture":
            let picture = try processor(request).picture(try request.picture())
            return Answer(ids: [picture.rows, picture.columns, picture.tokens], sha256: picture.views.sha256)
        case "biomedclip_ids":
            return Answer(ids: try dual(request).ids(try fields.text("text")).map(Int.init))
        case "biomedclip_count":
            return Answer(ids: [try dual(request).countTokens(try fields.text("text"))])
        case "biomedclip_picture":
            return Answer(sha256: try dual(request).pixelValues(try request.picture()).sha256)
        case let task:
            return try Numbers.answer(task, request)
        }
    }

    private mutating func tokenizer(_ request: Request) throws -> Phi3Tokenizer { try processor(request).tokenizer }

    private mutating func processor(_ request: Request) throws -> Phi3Processor {
        let folder = try request.folder(), facts = try VlmFacts(try request.fields.part("facts"))
        let key = "\(folder.path) \(facts.mostCrops)"
        if let known = phi3[key] { return known }
        let processor = try Phi3Processor(folder: folder, facts: facts)
        phi3[key] = processor
        return processor
    }

    private mutating func dual(_ request: Request) throws -> BiomedClipProcessor {
        let folder = try request.folder()
        if let known = biomedclip[folder.path] { return known }
        let processor = try BiomedClipProcessor(
            folder: folder, facts: try DualEncoderFacts(try request.fields.part("facts")),
            contextLength: try request.fields.integer("context_length"))
        biomedclip[folder.path] = processor
        return processor
    }
}

/// Tasks without a tokenizer.
enum Numbers {
    static func answer(_ task: String, _ request: Request) throws -> Answer {
        let fields = request.fields
        switch task {
        case "clean":
            return Answer(text: CleanText.clean(try fields.text("text")))
        case "bert_words":  // the words of each text, with U+001F between them
            let normalizer = BertNormalizer(cleans: true, splitsChinese: true, lowers: true, stripsAccents: true)
            return Answer(texts: try fields.texts("texts").map { text in
                normalizer.words(text.unicodeScalars).map { word in
                    word.reduce(into: "") { $0.unicodeScalars.append($1) }
                }.joined(separator: "\u{1F}")
            })
        case "resize":
            let filter: ResizeFilter = try fields.text("filter") == "bilinear" ? .bilinear : .bicubic
            let size = try fields.integers("size")
            return Answer(sha256: try request.picture().resized(width: size[0], height: size[1], filter).pixels.sha256)
        case "layout":
            return try layout(fields)
        case "draws":
            var random = NumpyRandom(seed: UInt64(try fields.integer("seed")))
            return Answer(numbers: (0..<(try fields.integer("count"))).map { _ in random.next() })
        case "sample":
            return try sample(request)
        case "halves":
            return Answer(ids: try request.floats("numbers").map { Int(Half.bits($0)) })
        case "classify":
            let result = Classification(
                labels: try fields.texts("labels"), similarities: try request.floats("similarities"),
                logitScale: try fields.number("logit_scale"))
            return Answer(texts: result.top().map(\.label), numbers: result.probabilities.map(Double.init))
        case "ensemble":
            let prompts = try PromptSet(labels: try fields.texts("labels"), templates: try fields.texts("templates"))
            let values = try request.floats("rows"), width = try fields.integer("width")
            let rows = (0..<values.count / width).map { Array(values[$0 * width..<($0 + 1) * width]) }
            return Answer(texts: prompts.prompts, numbers: try prompts.ensemble(rows).joined().map(Double.init))
        case "bank":
            let bank = try LabelBank(contentsOf: URL(fileURLWithPath: try fields.text("path")))
            return Answer(texts: bank.labels, sha256: Array(bank.embeddings.joined()).sha256)
        case "manifest":
            return Answer(texts: try manifest(URL(fileURLWithPath: try fields.text("folder"), isDirectory: true)))
        default:
            throw NexusEdgeError.input("there is no task \(task)")
        }
    }

    private static func layout(_ fields: JsonObject) throws -> Answer {
        let laid = try HdLayout.layOut(
            features: try fields.integers("features").map { UInt16($0) },
            separators: try fields.integers("separators").map { UInt16($0) }, width: try fields.integer("width"),
            rows: try fields.integer("rows"), columns: try fields.integer("columns"),
            globalFirst: try fields.integer("global_first") == 1)
        return Answer(ids: laid.map(Int.init))
    }

    private static func sample(_ request: Request) throws -> Answer {
        let fields = request.fields
        var sampler = Sampler(try GenerationOptions(
            temperature: try fields.number("temperature"), topP: try fields.number("top_p"),
            seed: UInt64(try fields.integer("seed"))))
        let logits = try request.floats("logits")
        return Answer(ids: try (0..<(try fields.integer("count"))).map { _ in try sampler.pick(logits) })
    }

    /// A line per tensor: package, role, function, name and shape.
    private static func manifest(_ folder: URL) throws -> [String] {
        try Manifest(folder: folder).packages.flatMap { package in
            package.functions.flatMap { function in
                (function.inputs + function.outputs + function.states).map { tensor in
                    "\(package.file) \(package.role) \(function.name) \(tensor.name) \(tensor.shape)"
                }
            }
        }
    }
}
