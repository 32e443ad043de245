"""Runs a saved program in Paddle Inference, for a process that can't load Paddle itself.

    python -c THIS PROGRAM [WEIGHTS]

Reads a NumPy archive with the arrays `RUN/INPUT` from stdin, and writes one with the arrays `RUN/OUTPUT` and `version`
(its text as uint8) to stdout.
Exits with 3 if Paddle or NumPy is missing.
"""

import io
import os
import sys

# What Paddle's libraries print must not get between the bytes of the archive.
results = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
os.environ.setdefault("GLOG_minloglevel", "2")

try:
    import numpy as np
    import paddle
    from paddle import inference
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(3)


def predictor(files):
    # Paddle 2 would crash on a program in JSON.
    if files[0].endswith(".json") and paddle.__version__.startswith(("0.", "1.", "2.")):
        sys.exit(f"Paddle {paddle.__version__} reads no programs in JSON, which Paddle 3 writes")
    # For a program without weights, Paddle 2 and 3 take an empty name of the file of weights.
    config = inference.Config(*files) if len(files) == 2 else inference.Config(files[0], "")
    config.disable_gpu()
    config.disable_glog_info()
    # Without graph optimisations, Paddle runs the operators of the program as they are.
    config.switch_ir_optim(False)
    if hasattr(config, "disable_mkldnn"):
        config.disable_mkldnn()
    return inference.create_predictor(config)


def main():
    arrays = np.load(io.BytesIO(sys.stdin.buffer.read()))
    runs = {}
    for key in arrays.files:
        run, name = key.split("/", 1)
        runs.setdefault(run, {})[name] = arrays[key]
    model = predictor(sys.argv[1:])
    outputs = {"version": np.frombuffer(paddle.__version__.encode(), dtype=np.uint8)}
    for run, inputs in runs.items():
        for name in model.get_input_names():
            array = np.ascontiguousarray(inputs[name])
            handle = model.get_input_handle(name)
            handle.reshape(array.shape)
            handle.copy_from_cpu(array)
        model.run()
        for name in model.get_output_names():
            outputs[f"{run}/{name}"] = model.get_output_handle(name).copy_to_cpu()
    archive = io.BytesIO()
    np.savez(archive, **outputs)
    results.write(archive.getvalue())
    results.close()


main()
