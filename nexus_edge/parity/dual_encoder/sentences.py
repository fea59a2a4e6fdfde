"""What a text tower is asked about: sentences as under biomedical figures, from one word to more than a context."""

SENTENCES = (
    "Pneumonia.",
    "Chest X-ray",
    "normal lymph node",
    "White blood cell",
    "brain MRI",
    "A neutrophil with a segmented nucleus.",
    "Hematoxylin and eosin stained section of colon adenocarcinoma.",
    "Axial T2-weighted MRI shows a hyperintense lesion in the left temporal lobe.",
    "Fundus photograph with microaneurysms, hard exudates and cotton-wool spots.",
    "Kaplan-Meier curves of overall survival (n = 142, p < 0.001).",
    "Immunohistochemistry for CD3 (20x): lymphocytes infiltrate the tumor margin.",
    "Peripheral blood smear, Giemsa stain: erythrocytes, one monocyte and scattered thrombocytes.",
    "Western blot of phosphorylated ERK1/2 after 0, 5, 15 and 30 min of stimulation with 10 ng/mL EGF.",
    "Confocal image of HeLa cells; nuclei in blue (DAPI), actin in red, scale bar 20 \u00b5m.",
    "Coronal CT of the abdomen with contrast demonstrates a 3.2 cm mass in the head of the pancreas.",
    "\u03b2-amyloid plaques and \u03b1-synuclein inclusions in the na\u00efve cortex &amp; hippocampus",
    "Transmission electron micrograph of a mitochondrion with swollen cristae next to rough endoplasmic reticulum.",
    "Dermoscopy: asymmetric pigment network, blue-white veil and irregular dots, suspicious for melanoma.",
    "Ultrasound of the thyroid reveals a hypoechoic nodule of 14 mm with microcalcifications in the right lobe.",
    "Flow cytometry gating strategy: live singlets, CD45+ CD3- CD19+ B cells, followed by CD27 and IgD.",
    "Lung squamous cell carcinoma with keratin pearls and intercellular bridges; the adjacent parenchyma shows "
    "emphysematous change and mild interstitial fibrosis.",
    "Posteroanterior and lateral chest radiographs of a 61-year-old man with fever and a productive cough show "
    "consolidation of the right lower lobe with air bronchograms, a small parapneumonic effusion that blunts the "
    "costophrenic angle, and no pneumothorax; the cardiomediastinal silhouette is within normal limits.",
    "Bone marrow aspirate of a patient with acute promyelocytic leukemia: hypercellular marrow, abnormal promyelocytes "
    "with bilobed nuclei, heavy azurophilic granulation and bundles of Auer rods. Fluorescence in situ hybridization "
    "confirmed the translocation t(15;17)(q24;q21), and treatment with all-trans retinoic acid and arsenic trioxide "
    "was begun on the same day. The patient was in complete molecular remission after two cycles.",
    # Longer than the 256 tokens of BiomedCLIP: the end is cut.
    "Study flow: " + "patients were screened for eligibility, gave informed consent, were randomized one to one, "
    "received either the study drug or placebo for twelve weeks, and were followed up for survival; " * 16,
)
