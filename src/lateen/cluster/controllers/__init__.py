"""What keeps derived objects true: state of the API -> actions, worked off as changes come in."""
