-- Lua's library at work: strings, tables, closures, coroutines, metatables, files, and a busy collector.
local function checksum(s) local h = 5381 for i = 1, #s do h = (h * 33 + s:byte(i)) % 4294967296 end return h end
print(_VERSION, math.pi, 7 // 2, 7 % -3, 2^53, 1 << 62, math.maxinteger, 10 / 3)
print(string.format("%5.2f|%q|%x|%-8s|", math.sqrt(2), "a\nb", 255, "left"))
local t = {}
for i = 1, 2000 do t[i] = (i * 7919) % 10007 end
table.sort(t)
print(t[1], t[1000], t[2000], #t, select("#", table.unpack(t, 1, 50)))
print(("hello world"):gsub("o", "0"), ("key = value"):match("^(%w+)%s*=%s*(%w+)$"))
local words = {}
for w in ("the quick brown fox jumps over the lazy dog the end"):gmatch("%a+") do words[w] = (words[w] or 0) + 1 end
local keys = {} for k in pairs(words) do keys[#keys + 1] = k end table.sort(keys)
for _, k in ipairs(keys) do io.write(k, "=", words[k], " ") end print()
local function gen(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i) end end) end
local sum = 0 for i in gen(5000) do sum = sum + i end print("coroutines", sum)
local V = {} V.__index = V
V.__add = function(a, b) return setmetatable({a[1] + b[1], a[2] + b[2]}, V) end
V.__tostring = function(v) return "(" .. v[1] .. "," .. v[2] .. ")" end
print(tostring(setmetatable({1, 2}, V) + setmetatable({3, 4}, V)))
for round = 1, 20 do local junk = {} for i = 1, 2000 do junk[i] = {i, tostring(i), function() return i end} end end
collectgarbage() print("memory", collectgarbage("count") < 2000)
print(pcall(error, {code = 5}), select(2, pcall(error, "message", 0)), (select(2, pcall(function() local x = nil; return x.y end)):gsub("^.-:%d+: ", "")))
local f = assert(io.open("lua.out", "w"))
for i = 1, 1000 do f:write(i, " ", i * i, "\n") end f:close()
local n, last = 0 for line in io.lines("lua.out") do n = n + 1 last = line end print(n, last)
f = io.open("lua.out", "rb") print(f:seek("end"), f:seek("set", 10), f:read(5), f:read("n"), f:read("l")) f:close()
print(checksum(io.open("lua.out"):read("a")))
print(io.open("/no/such/file"))
print(os.rename("lua.out", "lua.out2"), os.remove("lua.out2"), os.remove("lua.out2"))
print(os.date("!%Y-%m-%d %H:%M:%S", 1e9), os.time{year = 2020, month = 1, day = 1, hour = 12} > 0, os.getenv("NOPE"))
local fib = {} setmetatable(fib, {__index = function(s, k) local v = k < 2 and k or s[k - 1] + s[k - 2] s[k] = v return v end})
print(fib[80], string.pack("<i4", 1234567):byte(1, -1))
print(load("return 1 + 1")(), utf8.char(228, 8364), utf8.len("äöü"), #"äöü")
local a = 0 for i = 1, 200000 do a = (a * 31 + i) & 0xffffffff end print(a)
print(os.clock() >= 0, type(os.time()), arg[0] ~= nil)
os.exit(3)
