import torch

# Small networks lose more to the threads' hand-over than they gain, most of all where tests run side by side.
torch.set_num_threads(1)
