/// Byte pair encoding with byte fallback, as `model` of type BPE in a tokenizer.json describes it.
///
/// Neural Machine Translation of Rare Words with Subword Units (Sennrich et al., arXiv 1508.07909), section 3.2, with
/// the merges applied in the order of their ranks.
struct BytePairs: Sendable {
    struct Pair: Hashable, Sendable {
        let left, right: Int
    }

    struct Merge: Sendable {
        let rank, id: Int
    }

    let ids: [ExactText: Int]
    private let merges: [Pair: Merge]
    private let unknown: Int?
    private let fusesUnknown: Bool
    /// Ids of <0x00> to <0xFF>; empty without byte fallback.
    private let byteIds: [Int?]

    /// Throws `.bundle` if the model is of another type or contradicts itself.
    init(_ model: JsonObject) throws {
        guard try model.text("type") == "BPE" else { throw model.wrong("model.type", "BPE") }
        guard case .object(let vocabulary)? = model["vocab"] else { throw model.wrong("model.vocab", "an object") }
        ids = try vocabulary.mapValues { value in
            guard case .number(let number) = value, let id = Int(exactly: number), id >= 0 else {
                throw model.wrong("an id of model.vocab", "a whole number")
            }
            return id
        }
        for option in ["continuing_subword_prefix", "end_of_word_suffix", "dropout"] {
            guard model.isAbsent(option) else { throw model.wrong("model.\(option)", "null") }
        }
        if try model.bool("ignore_merges", false) { throw model.wrong("model.ignore_merges", "false") }
        merges = try Self.merges(model, ids)
        if case .text(let token)? = model["unk_token"] {
            guard let id = ids[ExactText(token)] else { throw model.wrong("model.unk_token", "in the vocabulary") }
            unknown = id
        } else {
            unknown = nil
        }
        fusesUnknown = try model.bool("fuse_unk", false)
        let ids = ids
        byteIds = try model.bool("byte_fallback", false) ? (0..<256).map { ids[ExactText(byteToken(UInt8($0)))] } : []
    }

    private static func merges(_ model: JsonObject, _ ids: [ExactText: Int]) throws -> [Pair: Merge] {
        var merges: [Pair: Merge] = [:]
        for (rank, entry) in try model.list("merges").enumerated() {
            let parts: [ExactText]
            switch entry {
            case .text(let line):  // older files: both parts in a text
                parts = line.utf8.split(separator: 32, maxSplits: 1).map { ExactText(String(Substring($0))) }
            case .list(let values):
                parts = values.compactMap { if case .text(let part) = $0 { ExactText(part) } else { nil } }
            default: parts = []
            }
            guard parts.count == 2, let left = ids[parts[0]], let right = ids[parts[1]],
                let id = ids[ExactText(parts[0].text + parts[1].text)]
            else { throw model.wrong("merge \(rank + 1)", "two tokens that make a third") }
            merges[Pair(left: left, right: right)] = Merge(rank: rank, id: id)
        }
        return merges
    }

    /// Ids of a text that is one word, however long.
    func encode(_ text: some Sequence<Unicode.Scalar>) -> [Int] {
        var symbols: [Int] = []
        var pendingUnknown = false
        for scalar in text {
            if let id = ids[ExactText(CollectionOfOne(scalar))] {
                if pendingUnknown, let unknown { symbols.append(unknown) }
                pendingUnknown = false
                symbols.append(id)
            } else if let bytes = fallback(scalar) {
                symbols += bytes
            } else if let unknown {
                if pendingUnknown, !fusesUnknown { symbols.append(unknown) }
                pendingUnknown = true
            }
        }
        if pendingUnknown, let unknown { symbols.append(unknown) }
        return merged(symbols)
    }

    private func fallback(_ scalar: Unicode.Scalar) -> [Int]? {
        guard !byteIds.isEmpty else { return nil }
        var found: [Int] = []
        for byte in UTF8.encode(scalar)! {
            guard let id = byteIds[Int(byte)] else { return nil }
            found.append(id)
        }
        return found
    }

    /// Neighbours joined, the merge of lowest rank first, of equal ones the leftmost.
    private func merged(_ symbols: [Int]) -> [Int] {
        var ids = symbols
        var next = ids.indices.map { $0 + 1 }, previous = ids.indices.map { $0 - 1 }
        var alive = [Bool](repeating: true, count: ids.count)
        var queue = PairQueue()
        func offer(_ place: Int) {
            guard place >= 0, next[place] < ids.count else { return }
            if let merge = merges[Pair(left: ids[place], right: ids[next[place]])] {
                queue.insert(.init(rank: merge.rank, place: place, id: merge.id))
            }
        }
        for place in ids.indices { offer(place) }
        while let best = queue.popFirst() {
            let place = best.place
            guard alive[place], next[place] < ids.count,
                merges[Pair(left: ids[place], right: ids[next[place]])]?.id == best.id
            else { continue }  // one of the two was joined with its other neighbour meanwhile
            let right = next[place]
            ids[place] = best.id
            alive[right] = false
            next[place] = next[right]
            if next[place] < ids.count { previous[next[place]] = place }
            offer(previous[place])
            offer(place)
        }
        return ids.indices.compactMap { alive[$0] ? ids[$0] : nil }
    }
}

/// How a vocabulary spells a byte that no piece holds.
func byteToken(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16, uppercase: true)
    return "<0x\(digits.count == 1 ? "0" : "")\(digits)>"
}
