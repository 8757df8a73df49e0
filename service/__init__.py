"""The online half: reads requests and artifacts and gives predictions, keeping every running game's state."""
