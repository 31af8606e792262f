"""The subjects, scenes and styles of a prompt, read from its words in English and Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from .palettes import COLORS, RGB

_WORDS: dict[str, str] = {
    # palettes
    "palette:sunset": "sunset sun dusk evening twilight 日落 夕阳 黄昏 晚霞 傍晚",
    "palette:night": (
        "night midnight moon moonlight moonlit star starry stars dark neon cyberpunk galaxy 夜 夜晚 夜景 月 月亮 "
        "月光 星空 星星 霓虹 赛博朋克"
    ),
    "palette:dawn": "sunrise dawn morning mist misty fog foggy serene pastel 日出 清晨 早晨 黎明 雾",
    "palette:storm": "storm stormy rain rainy cloudy overcast cinematic moody 雨 下雨 暴风 阴天",
    "palette:autumn": "autumn fall desert warm cozy wood coffee latte 秋 秋天 秋日 沙漠 咖啡 拿铁",
    "palette:snow": (
        "snow snowy winter ice icy frost frozen christmas igloo snowman penguin christmas_tree polar_bear 雪 "
        "雪地 下雪 冬 冬天 冰 圣诞 圣诞树 冰屋 雪人 企鹅 北极熊"
    ),
    "palette:rose": "rose roses blossom cherry romantic love sakura valentine 樱花 玫瑰 浪漫",
    "palette:sea": (
        "sea ocean beach tropical underwater boat ship sailboat whale dolphin lighthouse 海 海边 海滩 大海 海洋 "
        "船 帆船 帆 鲸 鲸鱼 灯塔"
    ),
    "palette:forest": "forest jungle woods spring tea bamboo garden panda 森林 竹 竹林 竹子 春 春天 花园 熊猫 茶",
    "palette:day": "day noon summer sunny sky bright rainbow 白天 晴 晴天 夏 夏天 天空 彩虹",
    # scenes
    "scene:space": (
        "space galaxy planet cosmos universe astronaut nebula rocket 太空 宇宙 星球 银河 宇航员 航天员 火箭"
    ),
    "scene:city": (
        "city town street skyline building cyberpunk tokyo shanghai paris architecture skyscraper urban 城 城市 "
        "街 街道 楼 高楼 赛博朋克 上海"
    ),
    "scene:lake": "lake river pond reflection island 湖 湖泊 河 河流 池塘",
    "scene:underwater": "underwater reef coral aquarium seabed 水下 海底 珊瑚",
    "scene:waves": (
        "sea ocean wave waves beach coast shore boat ship sail sailboat yacht whale 海 海边 海滩 大海 海洋 浪 船 "
        "帆船 帆 鲸 鲸鱼"
    ),
    "scene:trees": "forest jungle woods tree pine bamboo 森林 树 树林 竹 竹林 竹子",
    "scene:flowers": "flower flowers garden rose roses tulip meadow blossom sakura 花 花园 花海 樱花 玫瑰 郁金香",
    "scene:dunes": "desert dune sand sahara 沙 沙漠 沙丘",
    "scene:snowfield": "igloo snowman arctic antarctic 冰屋 雪人 雪地 雪原 北极 南极",
    "scene:mountains": "mountain mountains alpine alps peak valley canyon cliff 山 山峰 峰 雪山 峡谷 山谷",
    "scene:field": "field hill hills grass grassland park farm countryside 草地 草原 田野 公园 农场 山坡",
    "scene:road": "road highway track racing 公路 马路 道路",
    "scene:table": "table desk kitchen cafe restaurant still_life 桌 桌子 厨房 餐厅 静物",
    "scene:window": "window windowsill sill 窗 窗台 窗户 窗边",
    "scene:studio": "studio portrait headshot avatar close-up closeup 肖像 头像 人像 特写 工作室",
    "scene:bands": "abstract pattern gradient wallpaper minimal logo background 抽象 图案 渐变 壁纸 标志",
    # subjects
    "subject:cat": (
        "cat cats kitten kitty feline british_shorthair shorthair tabby siamese persian maine_coon ragdoll 猫 "
        "猫咪 小猫 英国短毛猫 英短 短毛猫 蓝猫 橘猫 布偶猫 暹罗猫"
    ),
    "subject:dog": (
        "dog puppy corgi labrador golden_retriever retriever husky poodle shiba 狗 小狗 狗狗 犬 柯基 金毛 哈士奇 柴犬"
    ),
    "subject:fox": "fox foxes 狐狸 狐",
    "subject:wolf": "wolf wolves 狼",
    "subject:lion": "lion 狮子 狮",
    "subject:tiger": "tiger 老虎 虎",
    "subject:rabbit": "rabbit bunny hare 兔 兔子 小兔",
    "subject:panda": "panda 熊猫",
    "subject:bear": "bear polar_bear teddy 熊 小熊 北极熊",
    "subject:horse": "horse pony unicorn 马 骏马 白马",
    "subject:deer": "deer stag reindeer elk 鹿 小鹿 驯鹿",
    "subject:cow": "cow cattle bull 牛 奶牛",
    "subject:sheep": "sheep lamb goat 羊 绵羊 羔羊",
    "subject:elephant": "elephant 大象 象",
    "subject:owl": "owl 猫头鹰",
    "subject:penguin": "penguin 企鹅",
    "subject:fish": "fish fishes goldfish koi shark 鱼 金鱼 锦鲤 鲨鱼",
    "subject:whale": "whale dolphin orca 鲸 鲸鱼 海豚",
    "subject:butterfly": "butterfly butterflies moth 蝴蝶",
    "subject:dragon": "dragon 龙 巨龙",
    "subject:bird": "bird gull seagull crane eagle swallow 鸟 小鸟 鹤 鹰 海鸥",
    "subject:castle": "castle palace fortress 城堡 宫殿 古堡",
    "subject:lighthouse": "lighthouse 灯塔",
    "subject:igloo": "igloo 冰屋 雪屋",
    "subject:temple": "temple pagoda shrine 寺 古寺 寺庙 塔 宝塔 庙",
    "subject:windmill": "windmill 风车",
    "subject:bridge": "bridge 桥 大桥",
    "subject:tower": "tower eiffel_tower 铁塔 埃菲尔铁塔",
    "subject:pyramid": "pyramid 金字塔",
    "subject:volcano": "volcano volcanoes 火山",
    "subject:waterfall": "waterfall 瀑布",
    "subject:house": "house cottage home cabin village barn 房 房子 小屋 木屋 屋 村庄",
    "subject:boat": "boat ship sail sailboat yacht 船 小船 帆船 帆",
    "subject:balloon": "balloon hot_air_balloon 气球 热气球",
    "subject:rocket": "rocket spaceship spacecraft 火箭 飞船",
    "subject:airplane": "airplane plane aeroplane aircraft jet 飞机",
    "subject:rainbow": "rainbow 彩虹",
    "subject:fireworks": "fireworks firework 烟花 焰火",
    "subject:car": "car sports_car automobile taxi 汽车 跑车 轿车 赛车 小汽车",
    "subject:train": "train steam_train locomotive railway 火车 列车",
    "subject:bicycle": "bicycle bike 自行车 单车",
    "subject:cup": "coffee coffee_cup cup mug latte espresso cappuccino cocoa 咖啡 咖啡杯 杯子 杯 马克杯 拿铁",
    "subject:teapot": "tea teapot teacup 茶 茶壶",
    "subject:cake": "cake birthday_cake cupcake dessert 蛋糕 生日蛋糕 甜点",
    "subject:pizza": "pizza 披萨 比萨",
    "subject:bowl": "bowl ramen noodles noodle soup rice food 碗 面条 拉面 汤 米饭 美食",
    "subject:apple": "apple fruit 苹果 水果",
    "subject:guitar": "guitar violin 吉他",
    "subject:book": "book cover novel 书 书籍 封面 图书",
    "subject:umbrella": "umbrella parasol 伞 雨伞",
    "subject:heart": "heart 爱心 心形",
    "subject:star": "gold_star star_shape 五角星",
    "subject:crown": "crown 王冠 皇冠",
    "subject:lantern": "lantern lamp 灯笼",
    "subject:mushroom": "mushroom 蘑菇",
    "subject:snowman": "snowman 雪人",
    "subject:christmas tree": "christmas_tree 圣诞树",
    "subject:palm": "palm palm_tree coconut 棕榈 椰树 椰子树",
    "subject:flower": "single_flower sunflower bouquet daisy lily 向日葵 花束 一朵花 百合",
    "subject:sign": "sign signpost 路牌 招牌 牌子",
    "subject:robot": "robot android cyborg mech 机器人 机甲",
    "subject:astronaut": "astronaut cosmonaut spaceman 宇航员 航天员",
    "subject:woman": (
        "woman women girl lady portrait face person queen princess model selfie 女人 女孩 女生 女性 女子 女士 "
        "少女 美女 肖像 头像 人像 人物 公主"
    ),
    "subject:man": (
        "man men boy gentleman king prince guy businessman grandfather 男人 男孩 男生 男性 男子 先生 老人 王子"
    ),
    # the coats of breeds
    "coat:112,122,140": "british_shorthair shorthair 英国短毛猫 英短 短毛猫 蓝猫",
    "coat:224,146,70": "tabby ginger shiba corgi 橘猫 柴犬 柯基",
    "coat:226,206,180": "siamese persian ragdoll labrador poodle 布偶猫 暹罗猫",
    "coat:222,172,96": "golden_retriever retriever 金毛",
    "coat:104,112,126": "husky shark dolphin 哈士奇 鲨鱼 海豚",
    "coat:240,242,246": "polar_bear unicorn 北极熊 白马",
    "coat:240,130,40": "goldfish koi 金鱼 锦鲤",
    # the weather, which lies over an image
    "weather:snow": "snow snowy snowing snowfall 雪 雪地 下雪 雪花",
    "weather:rain": "rain rainy raining 雨 下雨",
    "weather:fog": "fog foggy mist misty haze 雾",
    "weather:night": "night midnight 夜 夜晚 夜景",
    # styles, which change how everything is painted
    "style:poster": "poster flat flat_colour flat_color 海报 扁平",
    "style:oil": "oil oil_painting impressionist van_gogh 油画 印象派",
    "style:watercolour": "watercolour watercolor aquarelle ink_wash 水彩 水墨",
    "style:sketch": "sketch pencil drawing line_art charcoal 素描 铅笔 线稿 草图",
    "style:pixel": "pixel pixel_art 8-bit 像素",
    "style:mono": "monochrome black_and_white grayscale greyscale 黑白 灰度",
    "style:sepia": "sepia vintage retro old_photo 复古 老照片 怀旧",
    # what an edit does
    "verb:remove": "remove erase delete without 去掉 移除 删除 去除 没有",
    "verb:become": "into become turn replace transform change swap 变成 变为 换成 改成 替换 变",
    "verb:add": "add put place draw insert wearing 加 添加 加上 放 画",
    "background:behind": "background backdrop behind 背景",
    "background:sky": "sky 天空",
    "article:the": "the this that its his her my",
    "article:a": "a an another some one two 一只 一个 一艘 一座 一朵 一些",
}
"""Words by what they call for; an underscore is a space. Of palettes and scenes, the one further up decides."""

_COLOR_WORDS: dict[str, str] = {
    "red": "red crimson scarlet 红 红色",
    "orange": "orange 橙 橙色",
    "yellow": "yellow lemon 黄 黄色",
    "green": "green emerald jade 绿 绿色",
    "teal": "teal turquoise cyan 青 青色",
    "blue": "blue azure navy 蓝 蓝色",
    "purple": "purple violet lavender 紫 紫色",
    "pink": "pink magenta 粉 粉色 粉红",
    "brown": "brown 棕 棕色",
    "black": "black 黑 黑色",
    "white": "white 白 白色",
    "gold": "gold golden 金 金色",
    "grey": "grey gray silver 灰 灰色 银色",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One thing that a text calls for.

    Attributes:
        kind: what it is called for as.
        name: by which the tables have it.
        at: which of the text's words that are found it is, from 0.
    """

    kind: str
    name: str
    at: int


def calls(text: str) -> list[Call]:
    """Return all that `text` calls for, in the order of its words."""
    found = _pattern().findall(text.lower())
    return [Call(kind, name, at) for at, word in enumerate(found) for kind, name in _targets_of(word)]


def called_for(text: str) -> dict[str, list[str]]:
    """Return what `text` calls for: names by kind. Subjects are in its order, all else in that of the tables.

    >>> called = called_for("A red cat by the sea")
    >>> called["palette"], called["scene"], called["subject"], called["color"]
    (['sea'], ['waves'], ['cat'], ['red'])
    """
    found = calls(text)
    called: dict[str, list[str]] = {kind: [] for kind in _RANKS}
    for call in found:
        if call.name not in called[call.kind]:
            called[call.kind].append(call.name)
    for kind, ranks in _RANKS.items():
        if kind != "subject":
            called[kind].sort(key=ranks.index)
    return called


def coats(text: str) -> dict[str, RGB]:
    """Return the colours of subjects: of their breed, or the one that stands right before them.

    >>> coats("A red fox and a British Shorthair under the blue sky")
    {'fox': (214, 48, 52), 'cat': (112, 122, 140)}
    """
    found = calls(text)
    coats: dict[str, RGB] = {}
    for subject in (call for call in found if call.kind == "subject"):
        breed = [call.name for call in found if call.kind == "coat" and call.at == subject.at]
        color = [call.name for call in found if call.kind == "color" and call.at == subject.at - 1]
        if color:
            coats[subject.name] = COLORS[color[0]]
        elif breed:
            red, green, blue = map(int, breed[0].split(","))
            coats[subject.name] = red, green, blue
    return coats


def free_colors(text: str) -> list[str]:
    """Return the colours that belong to no subject."""
    found = calls(text)
    taken = {call.at - 1 for call in found if call.kind == "subject"}
    return list(dict.fromkeys(call.name for call in found if call.kind == "color" and call.at not in taken))


def _entries() -> Iterable[tuple[str, str, str]]:
    for target, words in _WORDS.items():
        kind, _, name = target.partition(":")
        yield kind, name, words
    for name, words in _COLOR_WORDS.items():
        yield "color", name, words


@cache
def _table() -> dict[str, tuple[tuple[str, str], ...]]:
    """Return what each word calls for, by kind and name."""
    table: dict[str, tuple[tuple[str, str], ...]] = {}
    for kind, name, words in _entries():
        for word in words.split():
            plain = word.replace("_", " ")
            table[plain] = (*table.get(plain, ()), (kind, name))
    return table


@cache
def _pattern() -> re.Pattern[str]:
    """Return a pattern of all words, the longest first; English ones are whole words, also in the plural."""
    longest = sorted(_table(), key=len, reverse=True)
    english = "|".join(re.escape(word).replace(r"\ ", r"[\s-]+") for word in longest if word.isascii())
    chinese = "|".join(word for word in longest if not word.isascii())
    return re.compile(rf"(?<![a-z])(?:{english})(?:e?s)?(?![a-z])|{chinese}")


def _targets_of(word: str) -> tuple[tuple[str, str], ...]:
    plain = " ".join(word.replace("-", " ").split())
    table = _table()
    return next(
        table[form] for form in (word, plain, plain.removesuffix("s"), plain.removesuffix("es")) if form in table
    )


_RANKS: dict[str, list[str]] = {}
for _kind, _name, _ in _entries():
    _RANKS.setdefault(_kind, []).append(_name)
