"""
A scheduled analytics worker: reads leads, says what can honestly be said of them, and how sure that is.

The house
=========
run.py                the command line                __main__.py, daemon.py   the daemon: a clock, and nothing else
  commands/           one click command a module, imported when called; request.py what is asked, and whether it is ours
  terminal.py         when there are colours; progress.py, summary.py what a run shows
  settings.py         what is configured              logs.py, errors.py       what is told, without secrets
  calendar.py         what is due, of (time, schedule, ledger); timetable.py the jobs in order, and when
  errand.py           a tick's work, in a process of its own                   stopping.py   signals
  garbage.py          when a process looks for cycles in what it made
  status.py           how each job stands, and lateness.py when it is late; shown by status_table.py, health.py,
                      readiness.py, endpoint.py and metrics.py
runner.py             one run of one job: claim, read, fit, analyse shard by shard, write, done. The hall of the house
  readings.py         what is read for a run, once or shard by shard; sample.py which of very many clients to learn from
                      randomness.py the seeds; arithmetic.py one thread, so that all machines agree
  shards.py           one shard: analyse, write, halve where it fails; shard_tasks.py the same, anywhere
  executors.py        here, in processes (process_executor.py), or on a Dask cluster (dask_executor.py); and one step
                      ahead, in a thread beside the one that asks the database
  ledger.py           who runs what, until when, under which token; heartbeat.py keeps the lease alive
  watermark.py        which clients' rows changed since a job last looked
  registry.py         which fitted conversion model speaks
reading.py            the only door from rows to arrays: packing.py takes whole columns, columns.py holds them,
                      arranging.py lays out what was known when; fetching.py, contacts.py, histories.py, lead_ids.py,
                      ordering.py, vocabulary.py
leads.py              Leads: arrays, with what was known of each lead when; actions.py what was done with them;
                      episodes.py, lifecycle.py how leads end
jobs/                 one module a job, each the same shape: fit(leads, as_of), analyse(leads, model, as_of, rng)
statistics/           estimates on plain arrays, each with its source; knows no database, log or clock
review/               past claims, what became of them, and what follows; accuracy.py shows it
insights/, locale/    sentences in English and French, and the messages that they are made of
report/               the HTML report of one client, and of all; chore.py the day's chores that are no analyses
growth_brain.py       snapshots: made, written in bulk, read back; plain_json.py one spelling of JSON; prune.py old ones
database/             connections, schema, what this database has; queries.sql, every statement by name
simulate/             worlds of known truth; demo.py, demo_data.py, demo_screen.py, leads_file.py show them, or a file
backfill.py           past days                       backtest.py   past predictions beside what happened

Seven rules
===========
1. Confidence is a promise that can be checked: of the claims made at 0.8, eight in ten hold. Never a constant.
2. One direction: read, analyse, write. Input and output at the two ends; the middle is arithmetic on plain arrays.
3. Time and randomness are arguments: the same rows and the same as_of give the same snapshots to the last bit.
4. Due work is computed, not remembered: the calendar less the ledger. The database prevents doubles, not the process.
5. The product's schema is the contract: its tables, event types and keys as printed; ours stand beside them.
6. Nothing is invented: what the data do not say is null or an empty list, never a plausible default.
7. All clients at once: set-based reads, arrays over clients, bulk writes. Never a query per client.

A lead from row to sentence
===========================
1. runner.py claims the run in ledger.py and takes an as_of; nothing at or after it may influence what follows.
2. reading.py reads clients, lead_memory and lead_actions as of one instant, a packed column each (packing.py);
   arranging.py dates each lead by its first contact, folds its words by vocabulary.py, and passes over, and
   counts, what cannot be used.
3. leads.py holds the lead from now on: a place in arrays, with its urgency, tone and confidence over time; lifecycle.py
   tells from its actions when it converted, or went back.
4. The job's fit looks at all pooled clients together and makes a small JSON model: how much clients differ, how much
   they change. registry.py lets a new conversion model speak only if it does not lose to the last.
5. The job's analyse, shard by shard, meets the client's own leads with that model by functions of statistics/, and
   gives a Finding (jobs/finding.py): content, a Claim with its probability, a Check that can be decided. What it added
   up of each client (jobs/measures.py) adds up to the row of all clients as well.
6. The job's reconcile fits findings to what is on record: a pattern goes on, an event is told once.
7. growth_brain.py makes a Snapshot of it (its shape: schema/snapshots/), with a sentence by insights/sentences.py in
   the client's language, no surer than the claim, and writes the shard's snapshots and its "done" in one transaction.
8. Weeks later accuracy_review reads the claim back (review/claims.py), decides it by newer rows (review/resolvers.py),
   and what was learned of such claims (review/learning.py) tells the next prediction how to state its own.
"""

from worker.arithmetic import calculate_on_one_thread

__version__ = "0.1.0"

calculate_on_one_thread()
