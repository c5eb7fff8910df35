"""Model packs: the embedded one, the official ones and trained motion models, behind `core.interfaces.Models`."""
