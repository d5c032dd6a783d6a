// Package payment takes payments at a payment service over HTTP: a reference handler for events of the type
// payment.requested. However often an event comes, its invoice is charged once at most.
//
// The event's value is a [Request]:
//
//	{"order":"o-17","invoice":"o-17-3","version":3,"amount":{"amount":1299,"currency":"EUR"}}
//
// It may have a "card", the token of another card than the one that the service knows for the order; the service gets it as it is.
//
// # The service
//
// A payment is asked for with
//
//	POST {URL}/payments
//	Idempotency-Key: o-17-3#0
//	{"order":"o-17","invoice":"o-17-3","amount":{"amount":1299,"currency":"EUR"}}
//
// and looked for with GET {URL}/payments/{the key, escaped for a path}, which answers what the POST did. The service works on a
// key once and answers the same to each repeat, for at least [Config.KeyLifetime] after its first use. Names of fields stand in
// an answer once, and in small letters.
//
//	200, 201   {"payment":"pay_1","status":"captured","invoice":"o-17-3","amount":{"amount":1299,"currency":"EUR"}}:
//	           the money is taken. With the status pending it is not decided yet.
//	402        {"code":"card_expired","message":"..."}, or card_declined, or insufficient_funds: no money was taken, and none
//	           ever will be under this key.
//	404        to a GET, {"code":"unknown_key","key":"o-17-3#0"}: the service doesn't know the key, or not any more.
//	409        the service works on the key at this moment, or on something else that is in the way.
//	409, 422   {"code":"key_reused"}: the key was used with other content.
//	429        too many calls; Retry-After is honoured.
//	other 4xx  the request is refused, nothing was taken under this key.
//	408, 5xx   the service fails; it may have taken the money, a repeat of the key will tell. Retry-After is honoured.
//
// # Verdicts
//
//	captured                      success
//	pending                       retriable after [Config.PendingDelay]; the next attempts only look, with GET
//	402 with one of the codes     needs a correction, with the details {"field":"card","code":"card_expired"}
//	key_reused, or a payment      permanent, class PaymentMismatch: the row is marked, and no attempt calls again until a
//	that is not the one asked     person has set its state
//	for, or pending before
//	409, 425, 429                 retriable, after what Retry-After says
//	no payment in the body,       retriable, class PaymentAnswer
//	or one that says two things
//	408, 5xx, no answer in time,  retriable: the invoice may be the reason
//	a connection that broke
//	no connection, 3xx, 401, 403, the service payments is unavailable: it, or our configuration, is wrong and not the event, as
//	404, 405, 407                 with webhooks. No attempt is spent.
//	unknown_key, to a GET         retriable after [Config.PendingDelay], until the key has expired
//	other 4xx, 402 without        permanent, class PaymentRefused. To a GET that leaves the row as it is.
//	one of the codes
//	an event that makes no sense  permanent, class InvalidPayment, or Decode
//	Postgres away, or no answer   postgres is unavailable
//	of it before the deadline
//
// A circuit breaker ([Config.Breaker]) is around the calls, as with webhooks. When 408, 429, 5xx, timeouts and the like become
// many it opens: the service is unavailable, nothing is called and no attempt is spent, until a probe goes well. So a service
// that is away holds up all payments, and an invoice that it fails for holds up itself.
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
// anew, with the card of the corrected event, where the old key would repeat the refusal. A key that was used keeps the card that
// it was used with. That can't charge twice: the number grows only after a 402 with a known
// code to that very key, which is final and took no money, so that of all keys of an invoice at most the last can.
//
// Once the service has named a payment, no attempt asks for it again, for a payment that isn't found is no proof that none is
// there. Nor does one ask with a key that may be forgotten, when an earlier call with it may have taken the money: if
// [Config.KeyLifetime], less [Config.Timeout], has passed since the key's first use (column key_used_at), it looks, and if the
// service answers 404 then, that is a PaymentMismatch with the code key_expired. A person finds out at the service. If nothing
// was taken,
//
//	update payment_payments set state = 'refused', unsure = false, payment = null where invoice = ...
//
// lets the invoice be replayed. If it was, set state = 'captured' and the service's payment, and the version in payment_orders.
//
// # Versions of an order
//
// An order is charged once, in full, and never for a difference. The table payment_orders has the highest version that was
// captured (column version), and the highest that was requested (known), whatever became of it.
//
//   - An invoice of a lower version than the highest known is settled without a call, unless it may have been charged; its row's
//     state is superseded. One that may have been charged is asked about until that is decided.
//   - An invoice of the amount 0 is settled without a call; its row's state is free. It replaces lower versions as any other.
//   - Another invoice of the captured version or a higher one, of the amount 0 too, is permanent, class AlreadyPaid: a person decides. After a refund,
//     "update payment_orders set version = 0 where order_id = ..." lets the invoice be replayed.
//   - While another invoice of the order may have been charged, and nobody knows, an invoice is retriable, class PaymentOpen.
//     That is one in the state requested, and one refused without a card's code when that may not be the whole truth: after
//     an attempt without an answer, or with a 402 (column unsure). To try that one again decides it, or a person sets its state.
//   - Beside one with a mismatch an invoice is AlreadyPaid.
package payment
