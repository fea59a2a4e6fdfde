// Whoever imports NexusEdge has tokenizers, images and the rest of NexusEdgeCore as well.
@_exported import NexusEdgeCore
