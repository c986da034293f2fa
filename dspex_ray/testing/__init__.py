"""What tests of programs and of new parts stand on: a simulated model server, contract suites.

Import from the modules: `dspex_ray.testing.model_server.ModelServer`, `dspex_ray.testing.lm_contract.LMContract`.
"""
