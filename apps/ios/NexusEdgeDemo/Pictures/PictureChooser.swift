import PhotosUI
import SwiftUI

/// An image from the library, the camera or the samples.
struct PictureChooser: View {
    @Binding var picture: ChosenPicture?
    @State private var item: PhotosPickerItem?
    @State private var isTaking = false
    @State private var problem: String?

    var body: some View {
        Section("Image") {
            if let picture {
                Image(uiImage: picture.shown)
                    .resizable()
                    .scaledToFit()
                    .frame(maxHeight: 280)
                    .accessibilityLabel("The chosen image, \(picture.name)")
            }
            PhotosPicker(selection: $item, matching: .images) {
                Label("Choose a photo", systemImage: "photo.on.rectangle")
            }
            if CameraView.isAvailable {
                Button("Take a photo", systemImage: "camera") { isTaking = true }
            }
            samples
            if let problem { Text(problem).foregroundStyle(.red) }
        }
        .onChange(of: item) { if let item { choose(item) } }
        .fullScreenCover(isPresented: $isTaking) {
            CameraView { file in
                isTaking = false
                if let file { load(file, "photo") }
            }
            .ignoresSafeArea()
        }
    }

    private var samples: some View {
        Menu {
            ForEach(SamplePictures.all(), id: \.self) { place in
                Button(place.lastPathComponent) { open(place) }
            }
        } label: {
            Label("Samples", systemImage: "square.grid.2x2")
        }
    }

    private func choose(_ item: PhotosPickerItem) {
        Task {
            do {
                guard let file = try await item.loadTransferable(type: Data.self) else {
                    problem = "The photo library gave nothing; choose another image."
                    return
                }
                load(file, "photo")
            } catch {
                problem = error.localizedDescription
            }
        }
    }

    private func open(_ place: URL) {
        do {
            load(try Data(contentsOf: place), place.lastPathComponent)
        } catch {
            problem = error.localizedDescription
        }
    }

    private func load(_ file: Data, _ name: String) {
        Task {
            do {
                picture = try await ChosenPicture.load(file, name: name)
                problem = nil
            } catch {
                problem = error.localizedDescription
            }
        }
    }
}
