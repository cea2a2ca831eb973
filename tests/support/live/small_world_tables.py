"""TABLES of the twins that run on the small models: what they load, show and say in place of their originals'."""

FILES = {
    "v1-5-pruned-emaonly-fp16.safetensors": "small_world.safetensors",
    "ip-adapter_sd15.safetensors": "small_world_base.safetensors",
    "ip-adapter-plus_sd15.safetensors": "small_world_plus.safetensors",
    "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors": "small_world_clip.safetensors",
    "control_v11p_sd15_canny_fp16.safetensors": "small_world_outlines.safetensors",
    "ip-adapter-faceid_sd15.bin": "small_world_faceid.safetensors",
    "ip-adapter-faceid-plusv2_sd15.bin": "small_world_faceid_plusv2.safetensors",
    "ip-adapter-faceid-portrait-v11_sd15.bin": "small_world_portrait.safetensors",
    "auraface": "small_world",
}
OF_FACES = FILES | {"v1-5-pruned-emaonly-fp16.safetensors": "small_world_faces.safetensors"}
"""In the graphs that show people."""
CHOICES = ("shape", "colour", "texture", "background", "size", "place", "seed")
SUBJECTS = {  # by graph and title of the node: its CHOICES
    ("animation", "First image"): ("star", "orange", "dotted", "sky", "large", "center", 21),
    ("animation", "Second image"): ("circle", "purple", "striped", "grass", "large", "center", 22),
    ("attention_map", "First image"): ("star", "orange", "dotted", "sky", "large", "left", 37),
    ("attention_map", "Second image"): ("circle", "purple", "striped", "grass", "large", "right", 38),
    ("controlnet_and_image_prompt", "Image prompt"): ("circle", "purple", "striped", "grass", "large", "center", 1),
    ("controlnet_and_image_prompt", "Control picture"): ("star", "yellow", "plain", "black", "large", "center", 2),
    ("flux_image_prompt", "Image prompt"): ("star", "blue", "striped", "sunset", "large", "center", 42),
    ("image_prompt_in_one_node", "Image prompt"): ("heart", "pink", "striped", "grass", "large", "center", 3),
    ("interpolation", "First image"): ("star", "yellow", "dotted", "black", "large", "center", 23),
    ("interpolation", "Second image"): ("star", "blue", "striped", "sky", "large", "center", 24),
    ("img2img", "Image prompt"): ("circle", "yellow", "checkered", "black", "large", "center", 4),
    ("img2img", "Picture to change"): ("square", "blue", "plain", "sky", "large", "center", 5),
    ("inpainting", "Image prompt"): ("star", "red", "dotted", "sunset", "large", "center", 6),
    ("inpainting", "Picture with a mask"): ("square", "cyan", "plain", "gray", "large", "center", 7),
    ("layer_weights", "Image prompt"): ("circle", "purple", "striped", "grass", "large", "center", 25),
    ("masked_reference", "Picture with a mask"): ("cross", "cyan", "striped", "sunset", "large", "center", 41),
    ("moodboard", "Composition"): ("square", "cyan", "plain", "gray", "large", "right", 34),
    ("moodboard", "Style"): ("star", "orange", "dotted", "sunset", "large", "left", 35),
    ("masked_prompt", "Image prompt"): ("heart", "red", "dotted", "sunset", "large", "center", 26),
    ("masked_prompt", "Picture with a mask"): ("square", "cyan", "plain", "gray", "large", "left", 27),
    ("multimodal", "Image prompt"): ("cross", "green", "striped", "black", "large", "center", 8),
    ("noise_as_negative", "Image prompt"): ("circle", "green", "checkered", "sky", "large", "center", 28),
    ("prepared_reference", "Image prompt"): ("heart", "orange", "striped", "sky", "large", "center", 40),
    ("reference_detail", "Image prompt"): ("circle", "pink", "plain", "sunset", "large", "center", 29),
    ("regions", "Left subject"): ("circle", "red", "plain", "sky", "large", "left", 30),
    ("regions", "Right subject"): ("square", "yellow", "striped", "black", "large", "right", 31),
    ("save_prompt", "Image prompt"): ("cross", "cyan", "checkered", "sunset", "large", "center", 39),
    ("several_images", "First image"): ("star", "orange", "dotted", "sky", "large", "center", 32),
    ("several_images", "Second image"): ("circle", "green", "striped", "grass", "large", "center", 33),
    ("style_and_composition", "Composition"): ("square", "cyan", "plain", "gray", "large", "right", 34),
    ("style_and_composition", "Style"): ("star", "orange", "dotted", "sunset", "large", "left", 35),
    ("text_to_image_with_image_prompt", "Image prompt"): ("star", "orange", "dotted", "sky", "large", "left", 9),
    ("two_adapters", "First image prompt"): ("circle", "red", "dotted", "sky", "large", "center", 10),
    ("two_adapters", "Second image prompt"): ("cross", "green", "striped", "sunset", "large", "center", 11),
    ("weight_schedule", "Image prompt"): ("circle", "cyan", "checkered", "sunset", "large", "center", 36),
}
PORTRAIT = (
    *("skin", "hair", "style", "beard", "expression", "glasses", "clothes", "background"),
    *("person", "seed"),
)
PORTRAITS = {  # by graph and title of the node: what PORTRAIT names
    ("faceid", "Face"): ("tan", "blue", "curly", "moustache", "serious", "no", "orange", "gray", 4, 5),
    ("faceid_plus_v2", "Face"): ("pale", "red", "bun", "shaved", "surprised", "round", "green", "gray", 6, 7),
    ("portrait", "Face"): ("brown", "gray", "short", "beard", "smiling", "no", "red", "sky", 8, 9),
    ("portrait", "The same face again"): ("brown", "gray", "short", "beard", "serious", "no", "blue", "gray", 8, 10),
}
TEXTS = {  # all others are empty
    ("faceid", "Positive"): "a smiling person with dark glasses in a red shirt on a sunset background",
    ("faceid_plus_v2", "Positive"): "a person in a purple shirt on a grass background",
    ("portrait", "Positive"): "a sad person with round glasses in a yellow shirt on a sunset background",
    ("layer_weights", "Positive"): "a large heart on a black background",
    ("masked_prompt", "Positive"): "a black background",
    ("masked_reference", "Positive"): "on a grass background",
    ("multimodal", "Text prompt"): "a small heart on a sunset background",
    ("weight_schedule", "Positive"): "a large star on a black background",
}
SAMPLING = [42, "fixed", 20, 4, "ddim", "normal"]  # then the denoise of the graph
DENOISE: dict[str, float] = {}  # where it is not that of the main graph
SIDE = 256  # pixels of a picture
ABOUT = {
    "animation": (
        "**From one picture to another, frame by frame.** The two pictures are encoded *one per frame*; *Image Prompt "
        "Transition* spreads them over sixteen frames and back. Change the pictures, the hold, or the key frames."
    ),
    "attention_map": (
        "**Where each picture acted.** *Image Prompt Attention* draws a heat map for each reference over the result: "
        "*share* says how they divide the attention, *influence* how much they add to what the text says."
    ),
    "controlnet_and_image_prompt": (
        "**Shape from one picture, looks from another.** The ControlNet keeps the outlines of *Control picture*, the "
        "image prompt decides what fills them and what is behind. Choose another shape in one or another colour, "
        "texture or background in the other, or lower the strength of one of them."
    ),
    "faceid": (
        "**A face as prompt.** *Face Embedding* finds the face and reads who it is; skin, hair and beard come from it, "
        "expression, glasses, clothes and background from the text. Choose another person in *Face*, or other words."
    ),
    "faceid_plus_v2": (
        "**A face as prompt, with its picture.** Who it is comes from the face, expression and glasses from its "
        "picture, clothes and background from the text. Choose another expression in *Face*; less *shortcut* hears "
        "less of the picture."
    ),
    "image_prompt_in_one_node": (
        "**The short way.** *IP-Adapter* finds the adapter and the encoder that fit the model by itself. Choose "
        "another picture in *Image prompt*, or a weight near 0.5 and a text such as *a small star on a sky background*."
    ),
    "img2img": (
        "**A picture, changed towards another.** Sampling starts from *Picture to change* and follows *Image prompt*. "
        "Lower `denoise` keeps more of the first, higher gives more to the second."
    ),
    "interpolation": (
        "**Between two pictures.** *Combine Image Prompts* is half-way from one to the other. Move the weights, or "
        "subtract one from the other."
    ),
    "layer_weights": (
        "**Only some layers follow.** With *style transfer* the text says what is drawn and where, and the picture how "
        "it looks. Run it with other weight types; the node shows which layers they use."
    ),
    "masked_prompt": (
        "**The prompt acts only in the mask**, which is the object in *Picture with a mask*: there the picture says "
        "what is drawn, elsewhere the text does. Move the mask with its `place`."
    ),
    "masked_reference": (
        "**Only a part of the picture is read**, which is the object in *Picture with a mask*; its background does not "
        "act, so the text says what is behind. Disconnect the mask to see the difference, or choose another object."
    ),
    "moodboard": (
        "**Several pictures, each for what it is good at.** Every *Moodboard Picture* has a role, a strength and a "
        "time; *Moodboard* shows what each layer gets of them. Exchange the roles, or give one the role *avoid*."
    ),
    "noise_as_negative": (
        "**Away from noise.** The negative image is noise, and guidance moves away from it: colours become richer. Try "
        "the other kinds, less strength, or no negative image at all."
    ),
    "prepared_reference": (
        "**A reference, prepared.** *Prepare Reference* cuts it to a square, resizes and sharpens it, and shows what "
        "the encoder gets. The pictures here are square already, so only resizing and sharpening show; in one of your "
        "own, choose which side stays, or a point."
    ),
    "portrait": (
        "**A portrait from two pictures of one face.** Both say who it is; expression, glasses, clothes and background "
        "come from the text. Choose other people in both, or two different ones, and see what they have in common."
    ),
    "reference_detail": (
        "**More of the reference.** The encoder reads the picture at twice its resolution, whole and in tiles that "
        "each act in their part of the result. *Encode Image Prompt* shows all that it sees."
    ),
    "regions": (
        "**Two subjects, each in its place.** One region for the left half, one for the right, each with a picture. "
        "Change the pictures, exchange the places, or give the regions texts."
    ),
    "save_prompt": (
        "**An image prompt as a file.** *Save Image Prompt* writes it into `models/image_prompts`; *Load Image Prompt* "
        "brings it back in any graph with the same adapter, without picture and encoder."
    ),
    "several_images": (
        "**Several pictures in one prompt.** `weights` says how much each counts, `combine` what they become. Try "
        "*average*, *separate* and other weights."
    ),
    "style_and_composition": (
        "**The style of one picture, the composition of another.** Layers known for style follow one, those known for "
        "composition the other. Exchange the pictures, or balance the weights."
    ),
    "weight_schedule": (
        "**A weight that changes while the picture forms.** At first the picture leads, then it gives way to the text. "
        "Turn start and end value around and see what is decided when."
    ),
    "inpainting": (
        "**A picture into a hole of another.** The object in *Picture with a mask* is the hole, and *Image prompt* "
        "shows what goes there; the rest stays as it is. Choose another shape for the hole, or another picture."
    ),
    "multimodal": (
        "**Text and picture together, of different opinions.** At weight 0.5 both have a say. Move the weight: towards "
        "1 the picture wins, towards 0 the text does. The text knows the words that *Small World Picture* offers."
    ),
    "text_to_image_with_image_prompt": (
        "**A picture as prompt.** The text is empty, so what is drawn comes from the image prompt alone. Choose "
        "another shape, colour or background in *Image prompt*; each follows."
    ),
    "two_adapters": (
        "**Two adapters, two pictures.** Each picture is read by its own adapter, and the two Apply nodes in a row add "
        "up what they say; their order does not matter. Change both pictures, and balance them by the two weights."
    ),
}
NEEDS = "Nothing to download: the models come with this package. They are small, and so are their pictures: 256x256."
