"""Lab part: stands in for numba (180 MB with LLVM), imported by vLLM at start, used for n-gram speculation only."""


def jit(*_args, **_options):
    def refuse(*_a, **_k):
        raise NotImplementedError("numba is not in the lab's server image")

    return lambda function: refuse


njit = jit
prange = range


def get_num_threads():
    return 1


def set_num_threads(_number):
    """Nothing to set."""
