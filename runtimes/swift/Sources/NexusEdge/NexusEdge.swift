// Whoever imports NexusEdge has tokenizers, pictures and the rest of NexusEdgeCore as well.
@_exported import NexusEdgeCore
