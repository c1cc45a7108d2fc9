import pytest

from repvgg_np.kernels import get_num_threads, set_num_threads


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Networks as small as these gain nothing from a second thread, and wait for it where the processor is busy."""
    before = get_num_threads()
    set_num_threads(1)
    yield
    set_num_threads(before)
