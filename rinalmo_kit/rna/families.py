"""Names of RNA families: those of ArchiveII, and the 88 of Rfam that the embedded classifier knows."""

from __future__ import annotations

__all__ = ["FAMILIES", "RFAM", "rfam_name"]

FAMILIES = ("5s", "16s", "23s", "grp1", "srp", "telomerase", "RNaseP", "tmRNA", "tRNA")
"""The nine families of ArchiveII in the paper (Fig. 4)."""


RFAM = {
    "RF00001": "5S_rRNA",
    "RF00004": "U2",
    "RF00005": "tRNA",
    "RF00013": "6S",
    "RF00015": "U4",
    "RF00020": "U5",
    "RF00026": "U6",
    "RF00050": "FMN",
    "RF00051": "mir-17",
    "RF00162": "SAM",
    "RF00169": "Bacteria_small_SRP",
    "RF00380": "M-box",
    "RF00386": "Entero_5_CRE",
    "RF00480": "HIV_FE",
    "RF00523": "Prion_pknot",
    "RF01419": "IsrR",
    "RF01689": "AdoCbl-variant",
    "RF01695": "C4",
    "RF01699": "Clostridiales-1",
    "RF01701": "Cyano-1",
    "RF01704": "Glutamine-II",
    "RF01705": "Flavo-1",
    "RF01717": "PhotoRC-II",
    "RF01725": "SAM-I-IV-variant",
    "RF01731": "TwoAYGGAY",
    "RF01734": "Fluoride",
    "RF01739": "glnA",
    "RF01745": "manA",
    "RF01750": "ZMP-ZTP",
    "RF01998": "group-II-D1D4-1",
    "RF01999": "group-II-D1D4-2",
    "RF02001": "group-II-D1D4-3",
    "RF02012": "group-II-D1D4-7",
    "RF02034": "IMES-1",
    "RF02035": "IMES-2",
    "RF02440": "SpF59_sRNA",
    "RF02678": "Hatchet",
    "RF02684": "Twister-P5",
    "RF02913": "pemK",
    "RF02914": "DUF805b",
    "RF02924": "skipping-rope",
    "RF02925": "6A",
    "RF02928": "Actinomyces-1",
    "RF02944": "c4-2",
    "RF02957": "EFASI",
    "RF02958": "drum",
    "RF02960": "DUF2800",
    "RF02968": "DUF3800-IX",
    "RF02969": "DUF3800-I",
    "RF02975": "DUF3800-XI",
    "RF02976": "Flavobacterium-1",
    "RF02980": "freshwater-2",
    "RF02987": "GA-cis",
    "RF02996": "int-alpA",
    "RF02999": "ivy-DE",
    "RF03000": "LOOT",
    "RF03003": "GP20-b",
    "RF03012": "Mu-gpT-DE",
    "RF03013": "nadA",
    "RF03014": "Transposase-1",
    "RF03015": "Transposase-2",
    "RF03032": "narK",
    "RF03054": "Xanthine",
    "RF03057": "nhaA-I",
    "RF03064": "RAGATH-18",
    "RF03068": "RT-3",
    "RF03069": "malK-I",
    "RF03074": "Rhodo-rpoB",
    "RF03075": "DUF3800-VIII",
    "RF03078": "chrB-a",
    "RF03086": "chrB-b",
    "RF03127": "L13-Bacteroidia",
    "RF03130": "L19-Flavobacteria",
    "RF03132": "L17-Actino-Proteobacteria",
    "RF03135": "L4-Archaeoglobi",
    "RF03136": "S10-Clostridia",
    "RF03139": "S4-Bacteroidia",
    "RF03141": "S4-Flavobacteria",
    "RF03142": "L2-Alphaproteobacteria",
    "RF03143": "S15-Halobacteria",
    "RF03144": "eL15-Euryarchaeota",
    "RF03147": "RAGATH-10",
    "RF03156": "L31-Firmicutes",
    "RF03157": "L31-Gammaproteobacteria",
    "RF03158": "L31-Actinobacteria",
    "RF03160": "twister-P1",
    "RF03161": "S15-Flavobacteria",
    "RF03169": "c-di-GMP-II-GAG",
}
"""Accession in Rfam → name there (Rfam 14.9, CC0), as in ``data/published/rfam_rnas.csv``."""


def rfam_name(accession: str) -> str:
    """Return the name of a family with its accession, or what was given where no name is known.

    Examples
    --------
    >>> rfam_name("RF00005"), rfam_name("my family")
    ('tRNA (RF00005)', 'my family')
    """
    return f"{RFAM[accession]} ({accession})" if accession in RFAM else accession
