SELECT
  event_type,
  insight_text,
  learning_snapshot->'metrics' as metrics,
  confidence,
  created_at
FROM growth_brain
WHERE client_id = '550e8400-e29b-41d4-a716-446655440000'
ORDER BY created_at DESC
LIMIT 10;

SELECT
  client_id,
  learning_snapshot->>'lead_name' as lead_name,
  learning_snapshot->>'days_to_convert' as days,
  created_at
FROM growth_brain
WHERE event_type = 'conversion'
  AND (learning_snapshot->>'days_to_convert')::integer <= 7
ORDER BY created_at DESC;

SELECT
  AVG((learning_snapshot->>'days_to_convert')::numeric) as avg_days,
  COUNT(*) as total_conversions,
  MIN((learning_snapshot->>'days_to_convert')::numeric) as fastest,
  MAX((learning_snapshot->>'days_to_convert')::numeric) as slowest
FROM growth_brain
WHERE event_type = 'conversion'
  AND client_id = '550e8400-e29b-41d4-a716-446655440000';

SELECT
  event_type,
  insight_text,
  confidence,
  learning_snapshot->'predicted_conversions' as predictions,
  created_at
FROM growth_brain
WHERE confidence >= 0.8
  AND event_type LIKE '%prediction%'
ORDER BY confidence DESC, created_at DESC
LIMIT 20;
