/*
 * turn.pml: the turns of one gateway that may be killed between any two steps.
 *
 * What it models
 *
 * A charger comes, sends 3 messages, and goes. Each message has an answer of 2 units for the
 * charger, and is passed on as 1 unit to a processor. The gateway is killed (SIGKILL) up to
 * KILLS times, anywhere; the next one goes on from the memory. Names of the code are in
 * parentheses (unixipc/journal if nothing else is said).
 *
 *   turn      accept or read (Read), handle, write down (Put, Drop), commit (Commit),
 *             write to sockets (Write). A turn need not write all: the rest comes in later turns.
 *   memory    Mem: the word (header.turn); notes of reads (readTurn, readCount, reads[]); the
 *             note of the write (writeSlot, writeTurn, writeBefore, write.length); two versions of
 *             each item (slot.versions). Each store that another process could find half done
 *             is a step of its own, in the order of the code.
 *   kernel    recvmmsg and sendmmsg: data and note in one step, since no signal comes between.
 *   recovery  Open, then a memory of its own, then VALID (unixipc/keep). It may be killed, too.
 *   keeper    never dies here (see keeper.pml). It knows the valid memory, and whether it has
 *             the charger's socket (PUT, DROP).
 *
 * Two items: CH is the charger's (messages handled, answers to write), LK the processor's link.
 * Both change in one turn, and share the one note of the write.
 *
 * What is checked
 *
 *   - Recovery never sees a version that is half written, and sees both items in the same turn.
 *   - Messages are handled in order, each once, counted from the state that is recovered.
 *   - The charger and the processor get exactly the units due, in order, each once.
 *   - Nothing is written that no valid memory of the keeper knows.
 *   - A committed item has its socket in the keeper.
 *   - Nothing ends before all is answered: `ltl answered`, with weak fairness.
 *
 * What it leaves out: several chargers (each has its own item; the note is shared, therefore
 * LK), messages that are cut by a read (what is handled is bytes, for the journal), blocks and
 * their checksums (a version that is half written is `torn`), TLS, time, more than one process
 * at a time (keeper.pml), a charger that breaks off.
 *
 * Mutants: -DM_… breaks one rule each. run.sh has the list; each must fail.
 */

#ifndef KILLS
#define KILLS 3
#endif
#ifndef MSGS
#define MSGS  3
#endif
#define UNITS   2	/* of an answer */
#define READS   2	/* in a turn, at most */
#define PENDING 9	/* the length of what the kernel has not done */
#define CH      0
#define LK      1
#define NOBODY  2	/* no slot */

typedef Version {
	unsigned turn : 4;	/* in which it was written; 0: never */
	bit there;		/* there is an item (size > 0) */
	unsigned got : 2;	/* messages handled so far */
	unsigned from : 3;	/* the output: units [from, to) of all that there ever are */
	unsigned to : 3;
	unsigned written : 3;	/* of these since */
	bit torn		/* being written */
}
typedef Slot { Version v[2] }
typedef Read {
	unsigned first : 2;	/* the bytes: messages first, first+1, … */
	unsigned size : 4	/* the note */
}
typedef Mem {
	unsigned word : 4;
	unsigned readTurn : 4;
	unsigned readCount : 2;
	Read reads[READS];
	unsigned wslot : 2;
	unsigned wturn : 4;
	unsigned wbefore : 3;
	unsigned wlen : 4;
	Slot s[2]
}

Mem mem[2];	/* the valid one, and the one that a claimant builds */
bit valid;	/* the keeper's: which one counts */

/* The world outside. */
bit online;	/* the charger's socket is open at our end */
bit kept;	/* the keeper has it, too */
byte taken;	/* messages that the kernel has given away */
byte wire;	/* units that the charger has got */
byte link;	/* units that the processor has got */
bit done;

byte kills;
bit kill;
bit refused = 0;	/* the kernel has once said EAGAIN, to a read or to a write */

/* Scratch, used within one step only. */
hidden byte i, n, v0;

#define M         mem[cur]
#define NEW(m, x) (mem[m].s[x].v[1].turn > mem[m].s[x].v[0].turn)	/* index of the newest version */
#define V(x, k)   M.s[x].v[k]
#define CDUE (V(CH, NEW(cur, CH)).from + V(CH, NEW(cur, CH)).written < V(CH, NEW(cur, CH)).to)
#define LDUE (V(LK, NEW(cur, LK)).from + V(LK, NEW(cur, LK)).written < V(LK, NEW(cur, LK)).to)

/* put writes the next version of item x (Put, Drop). */
inline put(x, e, g, f, t) {
	d_step {	/* the worst order: the number before the rest */
#ifdef M_IN_PLACE
		k = NEW(cur, x);
#else
		k = 1 - NEW(cur, x);
#endif
		V(x, k).torn = 1; V(x, k).turn = turn + 1
	}
	d_step {
		V(x, k).there = e; V(x, k).got = g; V(x, k).from = f; V(x, k).to = t;
		V(x, k).written = 0; V(x, k).torn = 0;
		k = 0
	}
}

/* handle: message m is done, in the process's own memory. */
inline handle(m) {
	assert(m == got + 1);	/* none lost, none twice */
	got = m; cto = cto + UNITS; lto = lto + 1
}

/* read is one Read; it ends with all bytes in the process's memory, or with EAGAIN. */
inline read() {
	if
	:: M.readTurn != turn + 1 -> M.readCount = 0; M.readTurn = turn + 1
	:: else
	fi;
	d_step { k = M.readCount; M.reads[k].size = PENDING; M.reads[k].first = 0 }
#ifndef M_READ_UNANNOUNCED
	M.readCount = k + 1;
#endif
	if
	:: d_step { taken + 1 <= MSGS -> M.reads[k].first = taken + 1; M.reads[k].size = 1; taken = taken + 1 }
	:: d_step { taken + 2 <= MSGS -> M.reads[k].first = taken + 1; M.reads[k].size = 2; taken = taken + 2 }
	:: d_step { !refused -> refused = 1 };
		M.readCount = k
	fi;
#ifdef M_READ_UNANNOUNCED
	M.readCount = k + 1;
#endif
	k = 0
}

/* write is one Write of item x. */
inline write(x, out) {
#ifndef M_NOTE_NOT_CLEARED
	M.wslot = NOBODY;
#endif
	d_step { k = NEW(cur, x); M.wbefore = V(x, k).written }
#ifdef M_NOTE_NOT_CLEARED
	skip;	/* as much time as every other step has */
#endif
	d_step { M.wlen = PENDING; M.wturn = V(x, k).turn }
	M.wslot = x;
	if	/* the kernel takes a unit, or two, or none for now */
	:: d_step { V(x, k).from + V(x, k).written + 1 <= V(x, k).to -> n = 1; taking(x, out) }
	:: d_step { V(x, k).from + V(x, k).written + 2 <= V(x, k).to -> n = 2; taking(x, out) }
	:: d_step { !refused -> refused = 1 }
	fi;
	d_step {
		if
		:: M.wlen != PENDING -> V(x, k).written = V(x, k).written + M.wlen
		:: else
		fi;
		k = 0
	}
}

inline taking(x, out) {
	assert(online || x != CH);
	assert(out == V(x, k).from + V(x, k).written);	/* the next unit due, none again, none left out */
	out = out + n; M.wlen = n
}

/* left tells how much of the output of item x is written (Open). */
inline left(x, unit, last) {
	v0 = (mem[old].s[x].v[0].turn <= mem[old].word -> 0 : 1);
	if
	:: mem[old].s[x].v[1 - v0].turn <= mem[old].word && mem[old].s[x].v[1 - v0].turn > mem[old].s[x].v[v0].turn -> v0 = 1 - v0
	:: else
	fi;
#ifdef M_UNCOMMITTED
	v0 = NEW(old, x);
#endif
	assert(!mem[old].s[x].v[v0].torn);
	there = mem[old].s[x].v[v0].there;
	got = mem[old].s[x].v[v0].got;
	n = mem[old].s[x].v[v0].written;
	if
#ifdef M_NOTE_NOT_NOTICED
	:: false
#elif defined(M_NOTE_OF_ANOTHER)	/* whichever version the slot has now */
	:: mem[old].wslot == x && mem[old].wlen != PENDING && v0 == NEW(old, x) -> n = mem[old].wbefore + mem[old].wlen
#else
	:: mem[old].wslot == x && mem[old].wlen != PENDING && mem[old].wturn == mem[old].s[x].v[v0].turn -> n = mem[old].wbefore + mem[old].wlen
#endif
	:: else
	fi;
	unit = mem[old].s[x].v[v0].from + n;
	last = mem[old].s[x].v[v0].to;
#ifdef M_FORGET_WRITTEN
	unit = mem[old].s[x].v[v0].from;
#endif
}

/* recover reads what the dead one has left. */
inline recover() {
	d_step {
		old = valid; cur = 1 - valid;
		left(LK, lfrom, lto); i = got;
		left(CH, cfrom, cto);
		assert(i == got);	/* one turn */
		if	/* what was read since */
#ifdef M_FORGET_READ
		:: false
#elif defined(M_READ_AGAIN)	/* whatever turn it was */
		:: mem[old].readTurn > 0 ->
#else
		:: mem[old].readTurn == mem[old].word + 1 ->
#endif
			i = 0;
			do
			:: i == mem[old].readCount -> break
			:: i < mem[old].readCount ->
				if
				:: mem[old].reads[i].size == PENDING
				:: mem[old].reads[i].size != PENDING ->
					n = 0;
					do
					:: n == mem[old].reads[i].size -> break
					:: n < mem[old].reads[i].size -> handle(mem[old].reads[i].first + n); n++
					od
				fi;
				i++
			od
		:: else
		fi;
		i = 0; n = 0; v0 = 0
	}
	put(LK, 1, got, lfrom, lto);
	put(CH, there, got, cfrom, cto);
	atomic { M.word = 1; turn = 1 }
	assert(!there || kept);		/* else its socket is gone */
#ifdef M_WRITE_BEFORE_VALID
	do
	:: CDUE -> write(CH, wire)
	:: break
	od;
	skip;
#endif
	d_step {	/* VALID; the keeper gives the former memory up */
		valid = cur; old = 0; wipe(1 - cur);
		if
		:: kept && !there -> kept = 0; online = 0	/* a socket with no item: closed */
		:: !kept -> online = 0
		:: else
		fi
	}
}

/* wipe gives a memory up; nobody looks at it any more. */
inline wipe(m) {
	mem[m].word = 0; mem[m].readTurn = 0; mem[m].readCount = 0;
	mem[m].wslot = NOBODY; mem[m].wturn = 0; mem[m].wbefore = 0; mem[m].wlen = 0;
	i = 0;
	do
	:: i == 2 -> break
	:: i < 2 ->
		mem[m].reads[i].first = 0; mem[m].reads[i].size = 0;
		clear(m, CH); clear(m, LK);
		i++
	od;
	i = 0
}
inline clear(m, x) {
	mem[m].s[x].v[i].turn = 0; mem[m].s[x].v[i].there = 0; mem[m].s[x].v[i].got = 0; mem[m].s[x].v[i].torn = 0;
	mem[m].s[x].v[i].from = 0; mem[m].s[x].v[i].to = 0; mem[m].s[x].v[i].written = 0
}

/* commit makes the turn valid, and gives up the versions before (Commit). */
inline commit() {
	d_step { M.word = turn + 1; turn = turn + 1 }
	d_step { giveup(CH); giveup(LK) }
}
inline giveup(x) {
	n = 1 - NEW(cur, x);
	V(x, n).there = 0; V(x, n).got = 0; V(x, n).from = 0; V(x, n).to = 0; V(x, n).written = 0;
	n = 0
}

/* output writes for as long as it likes. */
inline output() {
	do
	:: CDUE -> write(CH, wire)
	:: LDUE -> write(LK, link)
	:: (!there || taken < MSGS || (!CDUE && !LDUE)) -> break
	od
}

/* down writes down what has changed, and commits. */
inline down(e) {
	/* what is written so far is no part of the next versions */
	d_step { cfrom = V(CH, NEW(cur, CH)).from + V(CH, NEW(cur, CH)).written; lfrom = V(LK, NEW(cur, LK)).from + V(LK, NEW(cur, LK)).written }
	put(CH, e, got, cfrom, cto);
	put(LK, 1, got, lfrom, lto);
#ifdef M_WRITE_BEFORE_COMMIT
	output();
#endif
	commit()
}

active proctype Gateway() {
	bit cur;	/* its memory */
	bit old;	/* the one it reads */
	bit there, k;
	byte turn, got, cfrom, cto, lfrom, lto;
	

	/* The first memory: nobody is there. */
	d_step { wipe(0); wipe(1); mem[0].word = 1; mem[0].s[CH].v[0].turn = 1; mem[0].s[LK].v[0].turn = 1; mem[0].s[LK].v[0].there = 1 }
life:
	{
		recover();
		output();
		do
		:: !there && got == 0 ->	/* a charger comes: accept */
			online = 1;
#ifndef M_PUT_LATE
			kept = 1;		/* PUT */
#endif
			there = 1;
			down(1);
#ifdef M_PUT_LATE
			kept = 1;
#endif
		:: there && taken < MSGS ->	/* a turn */
			read();
			if
			:: taken < MSGS -> read()
			:: true
			fi;
			d_step {
				i = 0;
				do
				:: M.readTurn != turn + 1 || i == M.readCount -> break
				:: else ->
					n = 0;
					do
					:: n == M.reads[i].size -> break
					:: n < M.reads[i].size -> handle(M.reads[i].first + n); n++
					od;
					i++
				od;
				i = 0; n = 0
			}
			down(1);
			output()
		:: there && taken == MSGS ->	/* all is answered; it goes */
			assert(got == MSGS && !CDUE && !LDUE);
#ifdef M_DROP_EARLY
			kept = 0;		/* DROP */
#endif
			there = 0;
			down(0);
			kept = 0;		/* DROP */
			online = 0
		:: !there && got == MSGS -> break
		od;
		assert(wire == MSGS * UNITS && link == MSGS);
		done = 1
	} unless {
		d_step {	/* what it knew is gone */
			kill -> kill = 0;
			cur = 0; old = 0; there = 0; k = 0; turn = 0; got = 0; cfrom = 0; cto = 0; lfrom = 0; lto = 0;
			wipe(1 - valid)
		}
		goto life
	}
}

/* SIGKILL. */
active proctype Killer() {
	do
	:: atomic { kills < KILLS && !kill && !done -> kills++; kill = 1 }
	:: done -> break
	od
}

ltl answered { <> done }
