"""Names and shapes of stored arrays -> `Spec`, where there is no function to trace.

    family                        arrays that name it                     config adds
    wsjax (own)                   Dense_0/kernel, positions, ...          activation, pools
    MLP, CNN: PyTorch, Flax,      consecutive shapes; 0.weight, conv1,    activation, order,
      Keras; SIREN; VGG             Conv_0/kernel, conv2d/kernel:0          strides, pools, omega
    ResNet, ResNeXt               layer1.0.conv1.weight                   activation, if no 7x7 stem
    LSTM, GRU, RNN                weight_hh_l0                            activation of the head
    ViT: torchvision, timm,       in_proj_weight, attn.qkv,               heads
      Hugging Face                  attention.attention.query
    BERT, GPT-2, LLaMA,           attention.self.query, attn.c_attn,      config.json: heads, output
      PyTorch's encoder             self_attn.q_proj, self_attn.in_proj     tied to the embedding

Adding a family: a function as `resnets.resnet`, listed in `recognition.FAMILIES`, and a test that
runs the network's own function on permuted arrays (`tests/cases/recognised.py`).
"""

from wsjax.recognition.recognition import Recognition, recognize
from wsjax.recognition.stored import StoredNetwork, read

__all__ = ["Recognition", "StoredNetwork", "read", "recognize"]
