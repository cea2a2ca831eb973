"""The only place that imports ComfyUI: files, devices, memory, and installing image prompts on a model."""
