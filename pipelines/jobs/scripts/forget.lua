-- Forget deliveries that are in a state: one that has just left it stays. ARGV: the state, their ids.
for i = 2, #ARGV do
  if redis.call('ZREM', P .. ':webhook:' .. ARGV[1], ARGV[i]) == 1 then
    redis.call('DEL', P .. ':webhook:delivery:' .. ARGV[i])
  end
end
return 1
