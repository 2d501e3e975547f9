"""From two frames of a face to its motion map, and what finds these frames in a clip.

images, clip       frames in (files, pictures, arrays, videos); pictures out
scenes, tracking,  onset and apex of a clip without labels
apex
average            onset and apex with less noise, from their neighbours in time
geometry           lengths and places that the others share
flow, local, tvl1  optical flow, by estimator
head, facial       the head's motion subtracted: the flow of the face alone (with `plausibility`, its doubts)
cache              measured flows on disk
settings, colour,  the map: how strong, in which colours
render
regions            what each region of the face does, for descriptions
animation,         a clip, or many maps, to look at
contact_sheet
"""
