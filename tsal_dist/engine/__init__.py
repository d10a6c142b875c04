"""How a role takes one optimiser step: DDP or DeepSpeed behind one small protocol.

A loop calls `engine.forward` on its batch, computes a loss, and hands it to `engine.step`; the engine scales,
reduces, clips, steps and schedules. What leaves an engine (weights to publish, state to save) is whole and
has one form whatever the engine, so a run may resume with other ranks or with the other engine.
"""
