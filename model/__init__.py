"""The offline half of Nextply: games, records, training, evaluation and the export of models."""
