"""The pool map learns from what is told, and forgets the oldest when it is full."""

from decoders.core.types import PoolInfo
from monitor.pipeline.pools import PoolMap
from tests.pipeline.facts import graduation, launch, pool_created, pool_trade, trade


def test_learns_where_a_token_trades() -> None:
    """A graduation's new pool, an opened one and a traded one are known afterwards; Pump.fun's curves need no place."""
    pools = PoolMap()
    for fact in (graduation(), pool_created(pool="opened", flipped=True), pool_trade(pool="traded"), trade(), launch()):
        pools.learn(fact)
    assert set(pools) == {"pool", "opened", "traded"}
    assert pools["pool"].mint == "mint"
    assert pools["pool"].platform == "pumpfun"
    assert pools["opened"].flipped


def test_launchlab_curves_are_known_by_launch() -> None:
    """A LaunchLab trade names its pool only, so its launch is learned with its platform."""
    pools = PoolMap()
    pools.learn(launch(venue="raydium_launchpad", platform="raydium_launchpad", platform_config="bonk", pool="lab"))
    assert pools["lab"].platform_config == "bonk"


def test_is_bounded() -> None:
    """The pool learned first goes first; learning one again does not make another go."""
    pools = PoolMap(most=2)
    for address in ("a", "b", "b", "c"):
        pools.add(PoolInfo(address, "pumpswap", "m", "q"))
    assert set(pools) == {"b", "c"}
