// Package redisstore counts limits in Redis, for all nodes together: on a server,
// on a master under Sentinels, or in a Cluster.
//
// A decision must read and charge several budgets in one step that no other node
// comes between. In Redis a Lua script is such a step, so every call here is one
// script (EVALSHA) in the folder lua. The script goes by the server's own clock
// (TIME), since the clocks of nodes differ. A reply may be lost after the charge
// was made; therefore each call that charges has a name of its own, an attempt,
// whose outcome the script notes for 90 seconds. A second call of the same name
// answers what the first did and charges nothing.
//
// Each budget is one string, whose form is told at the head of lua/state.lua:
// counts, then a log of at most 81 charges for each window. lua/quick.lua decides
// the common case, in which all fits, from the counts alone; lua/take.lua decides
// all others.
//
// docs/redis.md says what an operator has to know: versions, settings, what the
// keys are called and what they take.
package redisstore
