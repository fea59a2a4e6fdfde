/// Possible merges of a text, the one of lowest rank first, of equal ones the leftmost. A binary heap.
struct PairQueue {
    struct Entry {
        let rank, place, id: Int

        func comes(before other: Entry) -> Bool {
            rank != other.rank ? rank < other.rank : place < other.place
        }
    }

    private var heap: [Entry] = []

    mutating func insert(_ entry: Entry) {
        heap.append(entry)
        var place = heap.count - 1
        while place > 0, heap[place].comes(before: heap[(place - 1) / 2]) {
            heap.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    mutating func popFirst() -> Entry? {
        guard let first = heap.first else { return nil }
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var place = 0
        while true {
            var least = place
            for child in [2 * place + 1, 2 * place + 2] where child < heap.count {
                if heap[child].comes(before: heap[least]) { least = child }
            }
            if least == place { return first }
            heap.swapAt(place, least)
            place = least
        }
    }
}
