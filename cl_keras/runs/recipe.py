"""From the plain values of a configuration to data, views, encoder, optimizer and model."""

import inspect

import keras

from cl_keras import data, encoders, methods, optimizers

METHODS = {name.lower(): getattr(methods, name) for name in methods.__all__}
ENCODERS = {
    name: getattr(encoders, name) for name in ("resnet18", "resnet34", "resnet50", "small_resnet")
}
OPTIMIZERS = ("lars", "sgd", "adam", "adamw", "lamb")
MOMENTUM = 0.9
LARGEST_WARMUP = 10  # epochs, as SimCLR


def load_data(spec, config, **options):
    """The images of `spec`, in the size and number of channels of a configuration."""
    return data.load(
        spec,
        image_size=config["image_size"],
        channels=config["channels"],
        max_bad_share=config["max_bad_share"],
        **options,
    )


def make_encoder(config, image_shape):
    """The untrained encoder: the same weights each time, by the seed."""
    keras.utils.set_random_seed(config["seed"])
    return ENCODERS[config["encoder"]](image_size=image_shape[0], channels=image_shape[2])


def make_views(config, image_shape):
    """The method's own views for the images, with the changes of the configuration."""
    method = METHODS[config["method"]]
    return method.default_views(image_shape[0], channels=image_shape[2], **config["views"])


def make_model(config, image_shape, steps_per_epoch):
    """The compiled model; what the configuration leaves open is the method's own default.

    Raises:
        ValueError: if the method has no such option.
    """
    method = METHODS[config["method"]]
    options = {name: config[name] for name in ("head", "temperature") if config[name] is not None}
    options |= config["method_options"]
    known = inspect.signature(method).parameters
    if "num_images" in known:  # a memory bank, which has a place for each image
        options.setdefault("num_images", config["images"])
    if unknown := set(options) - set(known):
        raise ValueError(
            f"{config['method']} has no option {', '.join(sorted(unknown))}; "
            f"it has {', '.join(set(known) - {'encoder', 'views', 'seed', 'kwargs'})}."
        )
    encoder, views = make_encoder(config, image_shape), make_views(config, image_shape)
    model = method(encoder, views=views, seed=config["seed"], **options)
    model.compile(make_optimizer(config, steps_per_epoch))
    return model


def make_optimizer(config, steps_per_epoch):
    """The optimizer, under a warm-up and a cosine over all epochs."""
    steps = config["epochs"] * steps_per_epoch
    schedule = optimizers.warmup_cosine(
        config["learning_rate"],
        warmup_steps=min(round(config["warmup_epochs"] * steps_per_epoch), steps - 1),
        steps=steps,
    )
    decay = config["weight_decay"]
    kind = config["optimizer"]
    if kind == "lars":
        return optimizers.LARS(schedule, momentum=MOMENTUM, weight_decay=decay)
    if kind == "sgd":
        return keras.optimizers.SGD(schedule, momentum=MOMENTUM, weight_decay=decay)
    makers = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "lamb": keras.optimizers.Lamb,
    }
    return makers[kind](schedule, weight_decay=decay)


def default_learning_rate(optimizer, batch_size):
    """The usual peak: `0.3·B/256` for LARS (SimCLR), `0.03·B/256` for SGD (MoCo), else 1e-3."""
    bases = {"lars": 0.3, "sgd": 0.03}
    if optimizer in bases:
        return optimizers.linear_scaling(batch_size, base=bases[optimizer])
    return 1e-3


def default_warmup(epochs):
    """Ten epochs, or a tenth of a short run."""
    return min(LARGEST_WARMUP, epochs / 10)
