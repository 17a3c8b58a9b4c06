"""What can be trained: one strict, frozen request type per kind, the same in the page, the API and a recipe file.

    Request
    └── TrainRequest              what all of them have: name, dataset, steps, learning rate, …
        ├── TrainAutoencoder      train-autoencoder: a first stage (pictures <-> latents)
        ├── TrainDiffusion        train-diffusion: a denoiser in the latent space of a first stage
        ├── TrainLora             train-lora: low-rank additions to a checkpoint
        ├── TrainEmbedding        train-embedding: a new word for a checkpoint's text encoder
        └── TrainControlNet       train-controlnet: a network that steers a checkpoint by a control picture

How each is trained is `webui/training`'s business; nothing here imports torch.
"""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from webui.errors import InvalidRequest
from webui.params import Param
from webui.request_base import MAX_SEED, STRICT, Request, of_kinds
from webui.sentences import Sentence

NAME = r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,60}$"
"""Names of results and datasets: what every file system takes, and never a path."""

Steps = Annotated[
    int, Param(1, 10_000_000, step=1, label="Steps", help="How many times the weights are changed in the whole run.")
]
BatchSize = Annotated[
    int, Param(1, 256, step=1, label="Batch size", help="How many pictures are looked at together; more need memory.")
]
LearningRate = Annotated[
    float,
    Param(1e-8, 1.0, step=1e-6, label="Learning rate",
          help="How far each step goes. Lower it when the loss jumps or is not a number."),
]  # fmt: skip
Size = Annotated[
    int,
    Param(32, 2048, step=8, label="Picture size",
          help="Pictures are trained at about this many pixels squared, each at its own aspect ratio."),
]  # fmt: skip
EmaDecay = Annotated[
    float,
    Param(0.0, 0.99999, step=0.00001, label="EMA decay",
          help="The result is a moving average of the weights with this memory. 0 takes the last weights."),
]  # fmt: skip
BaseChannels = Annotated[
    int, Param(8, 512, step=8, label="Base channels", help="Width of new networks; twice as many cost four times.")
]
CheckpointName = Annotated[
    str,
    Param(label="Checkpoint", max_length=300,
          help="The model that training starts from. Empty: the default one; for a diffusion model, new networks."),
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainRequest(Request):
    """What every training has. Defaults that suit only some kinds are set there."""

    is_training: ClassVar[bool] = True
    needs_checkpoint: ClassVar[bool] = True
    """Whether an empty `checkpoint` means the default one, and not none."""
    result_folder: ClassVar[str]
    """Folder of the models folder that the result goes to."""
    result_suffix: ClassVar[str] = ""

    name: Annotated[
        str,
        Param(label="Name", help="What the result is called: letters, digits, space, dot, dash, underscore."),
        Field(pattern=NAME),
    ]
    dataset: Annotated[
        str,
        Param(label="Dataset", help="The pictures and captions to learn from."),
        Field(pattern=NAME),
    ]
    steps: Steps = 1000
    batch_size: BatchSize = 1
    accumulation: Annotated[
        int,
        Param(1, 256, step=1, label="Accumulation",
              help="So many batches make one step: a larger batch for the memory of a small one."),
    ] = 1  # fmt: skip
    learning_rate: LearningRate = 1e-4
    precision: Annotated[
        str,
        Param(label="Precision", choices="precision",
              help="Numbers used in the networks. bf16 and fp16 are faster on graphics cards."),
    ] = "fp32"  # fmt: skip
    size: Size = 512
    seed: Annotated[
        int, Param(-1, MAX_SEED, step=1, label="Seed", help="Same seed, same training. -1 draws a new one each time.")
    ] = -1
    ema_decay: EmaDecay = 0.0
    save_every: Annotated[
        int,
        Param(1, 1_000_000, step=1, label="Save every",
              help="After so many steps the run is saved; a crash costs at most these."),
    ] = 100  # fmt: skip
    sample_every: Annotated[
        int,
        Param(0, 1_000_000, step=1, label="Sample every",
              help="After so many steps a picture shows what is learnt so far. 0: never."),
    ] = 100  # fmt: skip
    sample_prompt: Annotated[
        str,
        Param(label="Sample prompt", max_length=2000,
              help="What the sample pictures show. Empty: the caption of a training picture."),
    ] = ""  # fmt: skip

    @model_validator(mode="after")
    def _size_is_even(self) -> Self:
        if self.size % 8:
            label = Sentence("Picture size")
            raise InvalidRequest("{label} must be a multiple of 8, not {value}.", label=label, value=self.size)
        return self

    @property
    def summary(self) -> str:
        return self.name

    @property
    def result(self) -> str:
        """Where the result goes, relative to the models folder, with forward slashes."""
        return f"{self.result_folder}/{self.name}{self.result_suffix}"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainAutoencoder(TrainRequest):
    """A first stage: encoder and decoder with KL or vector-quantised latents (Rombach et al. 2022)."""

    kind: ClassVar[str] = "train-autoencoder"
    needs_checkpoint: ClassVar[bool] = False
    result_folder: ClassVar[str] = "vae"

    steps: Steps = 20_000
    batch_size: BatchSize = 8
    size: Size = 128
    ema_decay: EmaDecay = 0.999
    regularisation: Annotated[
        str,
        Param(label="Regularisation", choices="regularisation",
              help="KL keeps latents near a normal distribution, VQ takes them from a learnt codebook."),
    ] = "KL"  # fmt: skip
    downsampling: Annotated[
        int,
        Param(label="Downsampling", choices="downsampling",
              help="How many pixels wide one latent is. 1 works on pixels."),
    ] = 8  # fmt: skip
    latent_channels: Annotated[
        int, Param(1, 64, step=1, label="Latent channels", help="Numbers per latent: more keep more detail.")
    ] = 4
    codebook_size: Annotated[
        int, Param(2, 65_536, step=1, label="Codebook size", help="VQ only: how many different latents there are.")
    ] = 1024
    base_channels: BaseChannels = 64
    kl_weight: Annotated[
        float, Param(0.0, 1.0, step=1e-6, label="KL weight", help="KL only: how strongly latents are kept normal.")
    ] = 1e-6
    perceptual_weight: Annotated[
        float,
        Param(0.0, 10.0, step=0.1, label="Perceptual weight", help="How much likeness of features counts. 0: off."),
    ] = 1.0
    adversarial_weight: Annotated[
        float,
        Param(0.0, 10.0, step=0.1, label="Adversarial weight",
              help="How much a discriminator counts, which sharpens textures. 0: off."),
    ] = 0.5  # fmt: skip
    adversarial_start: Annotated[
        float,
        Param(0.0, 1.0, step=0.05, label="Adversarial start", help="Share of the run before the discriminator counts."),
    ] = 0.5

    @model_validator(mode="after")
    def _size_fits(self) -> Self:
        if self.size % self.downsampling:
            raise InvalidRequest(
                "size must be a multiple of downsampling {downsampling}, not {size}. Take {better}.",
                downsampling=self.downsampling,
                size=self.size,
                better=max(1, round(self.size / self.downsampling)) * self.downsampling,
            )
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainDiffusion(TrainRequest):
    """A denoiser in the latent space of a frozen first stage (Ho et al. 2020; Rombach et al. 2022)."""

    kind: ClassVar[str] = "train-diffusion"
    needs_checkpoint: ClassVar[bool] = False
    result_folder: ClassVar[str] = "checkpoints"

    steps: Steps = 20_000
    batch_size: BatchSize = 8
    size: Size = 128
    ema_decay: EmaDecay = 0.999
    checkpoint: CheckpointName = ""
    first_stage: Annotated[
        str,
        Param(label="First stage", max_length=300,
              help="Checkpoint or trained first stage (vae/NAME) whose latents are used. "
              "Empty: that of the checkpoint, or of the default one."),
    ] = ""  # fmt: skip
    text_encoder: Annotated[
        str,
        Param(label="Text encoder", max_length=300,
              help="Checkpoint whose text encoder is used. Empty: that of the checkpoint or first stage."),
    ] = ""  # fmt: skip
    conditioning: Annotated[
        str, Param(label="Conditioning", choices="conditioning", help="What steers the denoiser.")
    ] = "text"
    objective: Annotated[
        str, Param(label="Objective", choices="objective", help="What the denoiser learns to predict.")
    ] = "v_prediction"
    noise_schedule: Annotated[
        str, Param(label="Noise schedule", choices="noise_schedule", help="How noise grows over the timesteps.")
    ] = "scaled_linear"
    snr_gamma: Annotated[
        float,
        Param(0.0, 100.0, step=0.5, label="SNR gamma", help="Clamp of min-SNR weighting (Hang et al. 2023). 0: off."),
    ] = 5.0
    caption_dropout: Annotated[
        float,
        Param(0.0, 1.0, step=0.01, label="Caption dropout",
              help="Share of pictures shown without their condition, which guidance needs."),
    ] = 0.1  # fmt: skip
    base_channels: BaseChannels = 64


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainLora(TrainRequest):
    """Low-rank additions to a checkpoint's weights (Hu et al. 2021)."""

    kind: ClassVar[str] = "train-lora"
    result_folder: ClassVar[str] = "loras"
    result_suffix: ClassVar[str] = ".safetensors"

    checkpoint: CheckpointName = ""
    rank: Annotated[
        int, Param(1, 256, step=1, label="Rank", help="Size of the additions: more can learn more, and forget more.")
    ] = 16
    alpha: Annotated[
        float, Param(0.1, 256.0, step=0.1, label="Alpha", help="Strength of the additions, divided by the rank.")
    ] = 16.0
    train_text_encoder: Annotated[
        bool, Param(label="Train the text encoder", help="Learns new words better, and needs more memory.")
    ] = False
    layers: Annotated[
        str,
        Param(label="Layers", choices="lora_layers",
              help="Which layers get additions: more can learn finer things and make a larger file."),
    ] = "attention"  # fmt: skip
    trigger: Annotated[
        str, Param(label="Trigger", max_length=100, help="A word put before every caption, to call what was learnt.")
    ] = ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainEmbedding(TrainRequest):
    """A new word for a checkpoint's text encoder: textual inversion (Gal et al. 2022)."""

    kind: ClassVar[str] = "train-embedding"
    result_folder: ClassVar[str] = "embeddings"
    result_suffix: ClassVar[str] = ".safetensors"

    learning_rate: LearningRate = 5e-3
    checkpoint: CheckpointName = ""
    token: Annotated[
        str,
        Param(label="Token", help="The new word as it is written in prompts."),
        Field(pattern=r"^[^\s,:()\[\]{}|<>]{1,60}$|^<[^\s,:()\[\]{}|<>]{1,60}>$"),
    ]
    initial_word: Annotated[
        str, Param(label="Initial word", max_length=100, help="A known word near in meaning, to begin with.")
    ] = "object"
    vectors: Annotated[
        int, Param(1, 32, step=1, label="Vectors", help="How many places of the prompt the word takes.")
    ] = 1


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainControlNet(TrainRequest):
    """A network that steers a checkpoint by a control picture (Zhang et al. 2023)."""

    kind: ClassVar[str] = "train-controlnet"
    result_folder: ClassVar[str] = "controlnets"

    learning_rate: LearningRate = 1e-5
    checkpoint: CheckpointName = ""
    control: Annotated[
        str,
        Param(label="Control", choices="control",
              help="What it follows. given: NAME.control.png beside each picture."),
    ] = "edges"  # fmt: skip
    lite: Annotated[
        bool,
        Param(label="Light network",
              help="Without attention: less than half the size and faster, enough for edges and scribbles."),
    ] = False  # fmt: skip


TRAIN_REQUESTS = of_kinds((TrainLora, TrainEmbedding, TrainControlNet, TrainDiffusion, TrainAutoencoder))
"""Kind of training -> request type."""
