/*
 * keeper.pml: who owns the sockets, with a keeper, crashes, and upgrades.
 *
 * What it models
 *
 * Processes of the gateway, one keeper after the other, and a supervisor that starts a gateway
 * when the main process has ended, a keeper when there is none, and now and then a gateway that
 * nobody needs. KILLS SIGKILLs hit any of them between any two steps.
 *
 *   keeper    (unixipc/keep) reads messages in order from each connection, in any order between
 *             connections. CLAIM, PUT, VALID. The connection whose messages count is the
 *             *holder*: the claimant's from its grant on, whoever inherits it. A claim is granted
 *             only when the holder's connection is at its end: its messages are read, and no
 *             living process has it any more; and the owner is dead by its pidfd.
 *   fresh     a gateway that claims: GRANT (sockets and the valid memory), builds its own memory,
 *             VALID, serves. REFUSED: asks again. NOTHING: starts with no connections, but only
 *             if no process and no keeper has the listening sockets (else bind fails), and asks
 *             again if not.
 *   old, new  (unixipc/handoff, cmd/holdfast/upgrade) SEALED, PREPARED, COMMIT, ACTIVE. The new
 *             process inherits a duplicate of the old one's connection to the keeper. A limit of
 *             time may pass at any wait of the old process: then it kills the new one.
 *
 *   new, after COMMIT     ACTIVE to the old one, VALID to the keeper, serves
 *   old, after COMMIT     goes on if the new one is dead and no ACTIVE is left in the channel
 *
 * -DVALID_FIRST is the other order: VALID, ACTIVE, serves. Then an old process that goes on must
 * say VALID again, for its own memory, before it serves. Both orders are right.
 *
 * When the keeper has died the gateway serves on, connects to the next one, and sends PUT for all
 * sockets and VALID. Not while an upgrade is under way: the new process does it then.
 *
 * What is checked
 *
 *   - Never two owners: `own` is who may touch a socket.
 *   - Who serves knows how things are (S), and has it in its memory (Mem). When an owner touches
 *     a socket, what all others know or have written down is out of date, and must not be used.
 *     The keeper never grants a memory that is out of date.
 *   - While one keeper lives, nothing is lost; `lost` is only possible if a keeper has died, and
 *     then the process that had the sockets, before the next keeper had all.
 *   - Nobody starts with no connections if they are not lost.
 *   - What the owner says is heard by the keeper.
 *   - In the end somebody serves, and goes on to: `ltl served`, with weak fairness.
 *
 * What it leaves out: turns (turn.pml has them; here a process dies behind a turn or in one, and
 * its memory is right either way), several sockets, an answer of the keeper that is cut short by
 * its death (then the claimant has no grant, and asks the next one), processes that hang, late
 * items, systemd, which ends new processes with a main process that dies (nothing here needs it).
 *
 * Rules that the model has shown to be needed
 *
 *   1. That the owner is dead is not enough for a grant: after COMMIT the old process may die
 *      before the new one has said VALID (M_CLAIM_BY_PID). The end of the connection is: all who
 *      have it are dead, and all that they said is read (M_CLAIM_UNREAD). With it the pidfd is
 *      not needed; it does no harm. So nobody else may inherit the connection, and a new process
 *      that does not take over must end (M_NEW_STAYS), as must one that has handed over, or it
 *      closes the connection at ACTIVE, as here.
 *   2. The holder is the claimant from the grant on, not only from VALID on.
 *   3. ACTIVE before VALID, and VALID before the first byte. Then an old process that finds no
 *      ACTIVE knows that there was no VALID. If the new one dies between the two, the old memory
 *      is granted, which is right, since the old process is frozen for good. In the other order
 *      the old one must say VALID again (M_THAW_SILENT).
 *   4. No other connection to a keeper while an upgrade is under way (M_RECONNECT_IN_UPGRADE).
 *   5. NOTHING makes nobody the holder; else who serves is not heard by the next keeper.
 *
 * Mutants: -DM_… breaks one rule each. run.sh has the list; each must fail.
 */

#ifndef KILLS
#define KILLS    2
#endif
#ifndef UPGRADES
#define UPGRADES 1
#endif
#ifndef SPARES
#define SPARES   1	/* gateways that somebody starts while the main process lives */
#endif
#define NP       7	/* processes that there can be: an id is not used again */
#define NONE     7

mtype = { CLAIM, PUT, VALID, GRANT, NOTHING, REFUSED, SEALED, PREPARED, COMMIT, ACTIVE };

/* Processes. */
bit alive[NP];		/* by the kernel's word */
bit kill[NP];		/* SIGKILL is on its way */
byte conn[NP] = NONE;	/* the connection to the keeper: named after who has made it */
byte conngen[NP];	/* and to which of the keepers, one after the other */
bit own[NP];		/* it may touch sockets */
byte next;		/* id of the next process */
byte main_ = NONE;	/* the one whose end the supervisor waits for */

/* Channels. They outlive their writers. */
chan q[NP] = [4] of { mtype, byte };	/* to the keeper, on the connection that p has made */
chan a[NP] = [1] of { mtype, byte };	/* from the keeper to claimant p */
chan down[NP] = [2] of { mtype };	/* from the old process to the new one, p */
chan up[NP] = [2] of { mtype };		/* and back */

/* The keeper. Of keepers that have died nothing is left. */
bit kup = 1;
byte kgen;
byte holder = NONE;	/* the connection that it listens to */
byte kmem = NONE;	/* the valid memory: named after who has written it */
byte kpid = NONE;	/* its owner */

byte kills, upgrades, spares;

/* How things are, whatever the processes know. */
bit S[NP];		/* what p has in its head is how things are */
bit Mem[NP];		/* so is what p has in its memory */
bit sock[NP];		/* p has the sockets, and will serve unless it dies */
bit kput;		/* the keeper has sockets, or will find them in its queue */
bit kfull;		/* and a memory that is valid */
bit lost = 1;		/* nobody has the connections any more, or nobody ever had */

hidden byte i;

#define COUNT(v)    (v[0] + v[1] + v[2] + v[3] + v[4] + v[5] + v[6])
#define HAS(p, c)   (alive[p] && conn[p] == c && conngen[p] == kgen)
#define HELD(c)     (HAS(0, c) || HAS(1, c) || HAS(2, c) || HAS(3, c) || HAS(4, c) || HAS(5, c) || HAS(6, c))
#define JOINED(p)   (kup && conn[p] != NONE && conngen[p] == kgen)
#define QUEUED (len(q[0]) + len(q[1]) + len(q[2]) + len(q[3]) + len(q[4]) + len(q[5]) + len(q[6]))
#define DEAD(p)     (p == NONE || !alive[p])

#ifdef M_CLAIM_ALIVE
#define FREE true
#elif defined(M_CLAIM_BY_PID)
#define FREE (DEAD(kpid) && len(q[holder]) == 0)
#elif defined(M_CLAIM_UNREAD)
#define FREE (!HELD(holder) && DEAD(kpid))
#else
#define FREE (!HELD(holder) && len(q[holder]) == 0 && DEAD(kpid))
#endif

#ifdef M_RECONNECT_IN_UPGRADE
#define MAYJOIN true
#else
#define MAYJOIN (child == NONE)
#endif

/* check is made whenever a process has ended or a keeper. */
inline check() {
	if
	:: !kfull && COUNT(sock) == 0 -> assert(lost || kgen > 0); lost = 1
	:: else
	fi
}

/* gone: this process ends. */
inline gone() {
	atomic {
		alive[id] = 0; kill[id] = 0; own[id] = 0; S[id] = 0; sock[id] = 0; conn[id] = NONE; conngen[id] = 0;
		check()
	}
}

/* tell sends a message to the keeper, if that lives. */
inline tell(m) {
	if
	:: atomic { JOINED(id) && len(q[conn[id]]) < 4 ->
		q[conn[id]]!m, id;
		if
		:: m == PUT -> kput = 1
		:: m == VALID -> kfull = 1
		:: else
		fi }
	:: !JOINED(id)
	fi
}

/* touch: an owner reads or writes. Everything that others know is out of date. */
#define OTHERS (COUNT(S) + COUNT(Mem) != S[id] + Mem[id])
inline touch() {
	d_step {
		assert(S[id] && Mem[id]);
		i = 0;
		do
		:: i == NP -> break
		:: i < NP ->
			if
			:: i == id
			:: i != id -> S[i] = 0; Mem[i] = 0
			fi;
			i++
		od;
		i = 0
	}
}

proctype Gateway(byte id; byte par) {
	byte child = NONE;
	byte m;
	{
		if
		:: par != NONE -> goto inherit
		:: else
		fi;

claim:		/* a fresh one */
		if
		:: JOINED(id)
		:: atomic { kup && !JOINED(id) -> conn[id] = id; conngen[id] = kgen }
		fi;
		tell(CLAIM);
		if
		:: a[id]?GRANT, m ->
			S[id] = Mem[m];
			m = 0;
			Mem[id] = S[id];
			tell(VALID);
			goto serve
		:: a[id]?NOTHING, _ ->
			if
			:: d_step { COUNT(sock) == 0 && !kput ->
				assert(lost);
				sock[id] = 1; S[id] = 1; Mem[id] = 1 };
				tell(PUT);
				tell(VALID);
				goto serve
			:: COUNT(sock) > 0 || kput -> goto claim	/* the addresses are in use */
			fi
		:: a[id]?REFUSED, _ -> goto claim
		:: atomic { !JOINED(id) && len(a[id]) == 0 -> goto claim }
		fi;

inherit:	/* the new process of an upgrade */
		if
		:: down[id]?SEALED
		:: !alive[par] && len(down[id]) == 0 ->
#ifdef M_NEW_STAYS
			false;
#endif
			goto exit
		fi;
		Mem[id] = S[id];
#ifdef M_VALID_BEFORE_COMMIT
		tell(VALID);
#endif
		up[id]!PREPARED;
		if
		:: down[id]?COMMIT
		:: !alive[par] && len(down[id]) == 0 -> goto exit
		fi;
#ifdef VALID_FIRST
		tell(VALID);
#endif
#ifdef M_TOUCH_BEFORE_ACTIVE
		touch();
#endif
		atomic { up[id]!ACTIVE; sock[par] = 0 }
#ifdef M_TOUCH_BEFORE_VALID
		touch();
#endif
#ifndef VALID_FIRST
		tell(VALID);
#endif

serve:
		atomic { assert(COUNT(own) == 0); assert(S[id] && Mem[id]); own[id] = 1; lost = 0 }
end:		do
		:: OTHERS -> touch()
		:: atomic { kup && !JOINED(id) && MAYJOIN -> conn[id] = id; conngen[id] = kgen }
			tell(PUT);
			tell(VALID)
		:: atomic { child == NONE && upgrades < UPGRADES && DEAD(par) ->
			upgrades++; child = next; next++;
			alive[child] = 1; conn[child] = conn[id]; conngen[child] = conngen[id];
			run Gateway(child, id) }
		:: child != NONE -> break
		:: atomic { child != NONE && !alive[child] -> child = NONE }
		od;

		/* The upgrade: freeze. All that was to be sent is there. */
		atomic { own[id] = 0; S[child] = (alive[child] -> S[id] : 0); down[child]!SEALED }
		if
		:: up[child]?PREPARED
		:: atomic { !alive[child] && len(up[child]) == 0 -> goto back }
		:: atomic { alive[child] -> kill[child] = 1 }	/* it took too long */
			atomic { !alive[child] -> goto back }
		fi;
		atomic { down[child]!COMMIT; sock[child] = alive[child] }
		if
		:: atomic { up[child]?ACTIVE -> goto given }
		:: !alive[child]
#ifdef M_THAW_ALIVE
		:: alive[child]
#else
		:: atomic { alive[child] -> kill[child] = 1 }	/* it took too long */
			!alive[child]
#endif
		fi;
#ifndef M_ACTIVE_OVERLOOKED
		if
		:: atomic { len(up[child]) > 0 -> goto exit }	/* it became active, and died */
		:: len(up[child]) == 0
		fi;
#endif
#if defined(VALID_FIRST) && !defined(M_THAW_SILENT)
		tell(VALID);
#endif
back:
		child = NONE;
		goto serve;

given:
		atomic {
			conn[id] = NONE; conngen[id] = 0;	/* a claim needs not wait until this one has ended */
			if
			:: main_ == id -> main_ = child
			:: else
			fi
		}
exit:
		gone()
	} unless {
		atomic { kill[id] -> gone() }
	}
}

/* hear: the keeper takes a message of connection c. */
inline hear(c) {
	atomic {
		kup && len(q[c]) > 0 ->
		q[c]?m, p;
		if
		:: m == CLAIM && holder != NONE && !FREE -> a[p]!REFUSED, NONE
		:: m == CLAIM && (holder == NONE || FREE) ->
			if
			:: kmem == NONE ->
				kput = (holder == NONE -> kput : 0);
				holder = NONE;
				a[p]!NOTHING, NONE
			:: else ->
				assert(Mem[kmem]);
				holder = c;
				sock[p] = alive[p];
				a[p]!GRANT, kmem
			fi
		:: m != CLAIM && holder != NONE && holder != c
#if !defined(M_CLAIM_ALIVE) && !defined(M_CLAIM_BY_PID)
			-> assert(false)	/* who serves is not heard */
#endif
		:: m != CLAIM && (holder == NONE || holder == c) ->
			holder = c;
			if
			:: m == VALID -> kmem = p; kpid = p
			:: else
			fi
		fi;
		m = 0; p = 0
	}
}

active proctype Keeper() {
	mtype m;
	byte p;
#ifdef LIVE	/* as a real one does: one connection after the other, so that none waits for ever */
	byte c;
end:	do
	:: atomic { kup && QUEUED > 0 ->
		do
		:: len(q[c]) > 0 -> break
		:: else -> c = (c + 1) % NP
		od;
		hear(c);
		c = (c + 1) % NP }
	od
#else
end:	do
	:: hear(0)
	:: hear(1)
	:: hear(2)
	:: hear(3)
	:: hear(4)
	:: hear(5)
	:: hear(6)
	od
#endif
}
inline start() {
	assert(next < NP);
	alive[next] = 1;
	run Gateway(next, NONE);
	next++
}

active proctype Supervisor() {
end:	do
	:: atomic { DEAD(main_) -> main_ = next; start() }
	:: atomic { spares < SPARES -> spares++; start() }
	:: !kup -> kup = 1
	od
}

/* SIGKILL. */
inline shoot(p) {
	atomic { kills < KILLS && alive[p] && !kill[p] -> kills++; kill[p] = 1 }
}

active proctype Killer() {
end:	do
	:: shoot(0)
	:: shoot(1)
	:: shoot(2)
	:: shoot(3)
	:: shoot(4)
	:: shoot(5)
	:: shoot(6)
	:: d_step { kills < KILLS && kup ->
		kills++;
		kup = 0; kgen++; holder = NONE; kmem = NONE; kpid = NONE; kput = 0; kfull = 0;
		i = 0;
		do
		:: i == NP -> break
		:: i < NP && len(q[i]) > 0 -> q[i]?_, _
		:: i < NP && len(q[i]) == 0 -> i++
		od;
		i = 0;
		check()
		}
	od
}

#define SERVED (COUNT(own) == 1)
ltl served { <> [] SERVED }
