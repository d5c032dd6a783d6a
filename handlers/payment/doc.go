// Package payment takes payments at a payment service over HTTP: a reference handler for events of the type
// payment.requested. However often an event comes, its invoice is charged once at most.
//
// The event's value is a [Request]:
//
//	{"order":"o-17","invoice":"o-17-3","version":3,"amount":{"amount":1299,"currency":"EUR"}}
//
// # The service
//
// A payment is asked for with
//
//	POST {URL}/payments
//	Idempotency-Key: o-17-3#0
//	{"order":"o-17","invoice":"o-17-3","amount":{"amount":1299,"currency":"EUR"}}
//
// and looked for with GET {URL}/payments/{the key, escaped for a path}, which answers what the POST did, and 404 to a key that
// it doesn't know. The service works on a key once and answers the same to each repeat, for as long as events can be replayed.
//
//	200, 201   {"payment":"pay_1","status":"captured","invoice":"o-17-3","amount":{"amount":1299,"currency":"EUR"}}:
//	           the money is taken. With the status pending it is not decided yet.
//	402        {"code":"card_expired","message":"..."}, or card_declined, or insufficient_funds: no money was taken, and none
//	           ever will be under this key.
//	409        the key was used with other content.
//	429        too many calls; Retry-After is honoured.
//	other 4xx  the request is refused, nothing was taken under this key.
//	5xx        the service fails; it may have taken the money, a repeat of the key will tell. Retry-After is honoured.
//
// # Verdicts
//
//	captured                      success
//	pending                       retriable after [Config.PendingDelay]; the next attempt looks first, with GET
//	402 with one of the codes     needs a correction, with the details {"field":"card","code":"card_expired"}
//	409, or a payment that is     permanent, class PaymentMismatch: the row is marked, and no attempt calls again until a
//	not the one asked for         person has set its state
//	429, 425                      retriable, after what Retry-After says
//	no payment in the body        retriable, class PaymentAnswer
//	3xx, 401, 403, 404, 405,      the service payments is unavailable: it, or our configuration, is wrong and not the event, as
//	407, 408, 5xx, no answer      with webhooks. No attempt is spent.
//	other 4xx, 402 without        permanent, class PaymentRefused
//	one of the codes
//	an event that makes no sense  permanent, class InvalidPayment, or Decode
//	no connection to Postgres     postgres is unavailable
//
// A payment that stays pending ends in the dead-letter store when the consumer's retry tiers do; its replay looks for it again.
//
// # Never twice
//
// The table payment_payments has a row for each invoice. It is written before the first call (state requested) and after the
// answer (captured, refused or mismatch). An invoice that is captured is not asked for again. When the second write fails, the
// next attempt repeats the call with the same key and gets the same answer: the service takes nothing more.
//
// The key is the invoice, '#', and the number of card refusals in the row. So a replay after somebody corrected the card asks
// anew, where the old key would repeat the refusal. That can't charge twice: the number grows only after a 402 with a known
// code to that very key, which is final and took no money, so that of all keys of an invoice at most the last can.
//
// # Versions of an order
//
// An order is charged once, in full, and never for a difference. The table payment_orders has the highest version that was
// captured.
//
//   - An invoice of a lower version than that is settled without a call; its row's state is superseded.
//   - Another invoice of that version or a higher one is permanent, class AlreadyPaid: a person decides. After a refund,
//     "update payment_orders set version = 0 where order_id = ..." lets the invoice be replayed.
//   - While another invoice of the order may have been charged, and nobody knows, an invoice is retriable, class PaymentOpen.
//     That is one in the state requested, and one refused without a card's code when that may not be the whole truth: after
//     an attempt without an answer, or with a 402 (column unsure). To try that one again decides it, or a person sets its state.
//   - Beside one with a mismatch an invoice is AlreadyPaid.
package payment
