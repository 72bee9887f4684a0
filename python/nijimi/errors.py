"""What can go wrong, by whose fault it is."""


class Error(Exception):
    """Any error of nijimi's; itself, one that is the library's own fault."""


class UsageError(Error, ValueError):
    """What was asked for cannot be: a number out of its range, an unknown name, more memory than is allowed."""


class FileError(Error):
    """A file, its weights, or a label that the model does not know."""


class DeviceError(Error):
    """A GPU that is missing, or fails."""
