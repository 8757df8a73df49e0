"""The capacity model: measured service times in, what fleets of any size do with a load out.

Its modules in order: ``times`` what was measured, ``threads`` turns of work on cores, ``batches`` ticks and group
commits, ``stores`` the LMDB file and the shards, ``worker`` one request's way, ``plan`` what is simulated,
``simulation`` clients, failures and what came of them, ``calibration`` what is fitted, ``capacity`` the highest load,
cells and fleets, ``questions`` what is asked of a model, ``pictures`` and ``tables`` how answers are shown;
``shard_costs`` measures a Valkey server.
"""
